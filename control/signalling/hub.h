// Keeps the attached sessions, and decides what each is sent.
//
// One thread does all the work: hellos of sessions, changes of subscribers and policies, and
// revocations, in turn. Revocations come first, so neither a talkative peer nor a change of
// thousands of subscribers delays them. For each it reads the site from the store, judges the
// session's certificate by the store's present state, and sends the attachment or ends the stream.
// A peer is also judged before it has a session (server.cpp), so a revoked certificate makes no
// work here. A revocation and an attach at the same time therefore have the same result in either
// order.
//
// A certificate is valid if drd has enrolled it and not revoked it. A certificate of another CA
// (operator's PKI, --signalling-ca) is valid by its name until the subscriber is revoked here, or
// has attached with a certificate that drd has enrolled to replace earlier ones.
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
#include "control/signalling/ur_stream.h"

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
    // A peer was refused in the handshake; the name in its certificate is not proven.
    void stranger(const std::string& claimed, const std::string& why);
    // A subscriber's router was refused in the handshake, although its certificate is valid.
    void site_refused(const std::string& subscriber, const std::string& why);
    // The certificate with which the subscriber's UR is attached, bytes; empty: none is.
    std::string fingerprint_in_use(const std::string& subscriber);

    // The catalog's listener: only queues work.
    void publish(const std::vector<CommittedChange>& changes);
    // The subscriber's certificates have changed. How many streams it has now.
    std::uint32_t look_again(const std::string& subscriber);
    // Attached URs by name.
    std::vector<v1::AttachmentStatus> list(const std::string& after, const std::string& name_prefix,
                                           std::size_t limit);

    // Why the peer may not attach, by the store's present state; the refusal is logged. nullopt: it
    // may. Throws StoreError.
    std::optional<v1::Refused> refusal(const PeerIdentity& peer);

    // Of sessions: it said hello, or its lines changed; it is over.
    void look_at(const std::shared_ptr<UrStream>& session);
    void leave(const UrStream& session);

    // Ends all streams (UNAVAILABLE) and the thread. Idempotent.
    void stop();

  private:
    struct Attached {
        std::shared_ptr<UrStream> session;
        std::string policy;
    };
    void run();
    void put(const std::shared_ptr<UrStream>& session);
    void serve(const std::shared_ptr<UrStream>& session);
    [[nodiscard]] std::optional<v1::Refused> refusal(const PeerIdentity& peer,
                                                     const store::Secrets& secrets) const;
    void admit(const std::shared_ptr<UrStream>& session, const std::string& policy);
    void retire_older(const PeerIdentity& peer, const store::Secrets& secrets);
    void refuse(UrStream& session, const v1::Refused& why);
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
    // Sessions to check, each once; and sessions whose certificates have changed, which may be in
    // both queues.
    std::deque<std::shared_ptr<UrStream>> due_;
    std::unordered_set<const UrStream*> queued_;  // those in due_
    std::deque<std::shared_ptr<UrStream>> urgent_;
    bool stopping_ = false;
    std::thread thread_;
};

}  // namespace dr::control
