// Who is attached, and what they are to be told.
//
// One thread does it all: a session that said hello, a change of a subscriber or of its policy, a
// revocation are work for it, in turn, and revocations before all else: whoever says much, and a
// change that concerns thousands, hold up no revocation. For each it reads the site from the store,
// judges the session's certificate by what the store says now, and sends the attachment or ends the
// stream. A peer is judged before it has a session too (server.cpp): one whose certificate is
// revoked makes no work here. So a revocation and an attach that cross each other end the same way,
// whichever came first.
//
// A certificate is good when drd has enrolled it and not revoked it. One by another CA (operator's
// PKI, --signalling-ca) is good by its name until the subscriber is revoked here, or has attached
// with a certificate that drd has enrolled in place of those before.
#pragma once

#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <unordered_set>
#include <vector>

#include "control/events/journal.h"
#include "control/model/catalog.h"
#include "control/signalling/session.h"

namespace dr::control {

class SignallingHub {
  public:
    // `drs`: what URs are told. `others`: CAs besides drd's own whose certificates are taken.
    SignallingHub(Catalog& catalog, std::vector<v1::SignallingAddress> drs,
                  std::vector<pki::Certificate> others);
    SignallingHub(const SignallingHub&) = delete;
    SignallingHub& operator=(const SignallingHub&) = delete;
    ~SignallingHub();

    // Before the first session; it outlives the hub.
    void set_journal(Journal& journal) { journal_ = &journal; }
    // Somebody was refused in the handshake; what the certificate says of its name proves nothing.
    void stranger(const std::string& claimed, const std::string& why);
    // A subscriber's router was refused in the handshake, after its certificate was found good.
    void site_refused(const std::string& subscriber, const std::string& why);
    // The certificate with which the subscriber's UR is attached, bytes; empty: none is.
    std::string fingerprint_in_use(const std::string& subscriber);

    // The catalog's listener: only notes what is to be done.
    void publish(const std::vector<CommittedChange>& changes);
    // The subscriber's certificates have changed. How many streams it has now.
    std::uint32_t look_again(const std::string& subscriber);
    // Attached URs by name.
    std::vector<v1::AttachmentStatus> list(const std::string& after, const std::string& name_prefix,
                                           std::size_t limit);

    // Why the peer may not attach, by what the store says now, which is told of; nullopt: it
    // may. Throws StoreError.
    std::optional<v1::Refused> refusal(const PeerIdentity& peer);

    // Of sessions: it said hello, or its lines changed; it is over.
    void look_at(const std::shared_ptr<SignallingSession>& session);
    void leave(const SignallingSession& session);

    // Ends all streams (UNAVAILABLE) and the thread. Idempotent.
    void stop();

  private:
    struct Attached {
        std::shared_ptr<SignallingSession> session;
        std::string policy;
    };
    void run();
    void put(const std::shared_ptr<SignallingSession>& session);
    void serve(const std::shared_ptr<SignallingSession>& session);
    [[nodiscard]] std::optional<v1::Refused> refusal(const PeerIdentity& peer,
                                                     const store::Secrets& secrets) const;
    void admit(const std::shared_ptr<SignallingSession>& session, const std::string& policy);
    void retire_older(const PeerIdentity& peer, const store::Secrets& secrets);
    void refuse(SignallingSession& session, const v1::Refused& why);
    void tell_refused(const PeerIdentity& peer, const v1::Refused& why);
    void tell(Journal::Level level, const char* kind, const PeerIdentity& peer,
              const std::string& cause);

    Catalog& catalog_;
    Journal* journal_ = nullptr;
    const std::vector<v1::SignallingAddress> drs_;
    const std::vector<pki::Certificate> others_;

    std::mutex mutex_;  // all below
    std::condition_variable work_;
    std::map<std::string, Attached> attached_;  // by subscriber
    // Each once; and those whose certificates have changed, which may stand in both.
    std::deque<std::shared_ptr<SignallingSession>> due_;
    std::unordered_set<const SignallingSession*> queued_;  // those in due_
    std::deque<std::shared_ptr<SignallingSession>> urgent_;
    bool stopping_ = false;
    std::thread thread_;
};

}  // namespace dr::control
