// Decides which session serves a subscriber and which attachment it sends.
#include "control/signalling/hub.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/printable.h"
#include "control/signalling/attachment.h"
#include "control/signalling/credentials.h"

namespace dr::control {
namespace {

v1::Refused refused(v1::Refused::Reason reason, const std::string& text) {
    v1::Refused out;
    out.set_reason(reason);
    out.set_text(text);
    return out;
}

v1::Refused not_here(const std::string& subscriber) {
    return refused(v1::Refused::UNKNOWN_SUBSCRIBER,
                   fmt::format("subscriber {} is not provisioned here", quoted(subscriber)));
}

std::string fingerprint_of(const PeerIdentity& peer) {
    const pki::Fingerprint fingerprint = peer.certificate->fingerprint();
    return {reinterpret_cast<const char*>(fingerprint.data()), fingerprint.size()};
}

}  // namespace

SignallingHub::SignallingHub(Catalog& catalog, std::vector<v1::SignallingAddress> drs,
                             std::vector<pki::Certificate> others)
    : catalog_(catalog), drs_(std::move(drs)), others_(std::move(others)) {
    thread_ = std::thread([this] { run(); });
}

SignallingHub::~SignallingHub() {
    stop();
}

void SignallingHub::publish(const std::vector<CommittedChange>& changes) {
    const std::lock_guard lock(mutex_);
    if (attached_.empty()) return;
    for (const auto& change : changes) {
        if (const auto* s = std::get_if<v1::Subscriber>(change.object.get())) {
            const auto at = attached_.find(s->name());
            if (at != attached_.end()) put(at->second.session);
        } else if (const auto* policy = std::get_if<v1::Policy>(change.object.get())) {
            for (const auto& [name, attached] : attached_)
                if (attached.policy == policy->name()) put(attached.session);
        }
    }
    work_.notify_one();
}

std::uint32_t SignallingHub::look_again(const std::string& subscriber) {
    const std::lock_guard lock(mutex_);
    const auto at = attached_.find(subscriber);
    if (at == attached_.end()) return 0;
    urgent_.push_back(at->second.session);
    work_.notify_one();
    return 1;
}

std::vector<v1::AttachmentStatus> SignallingHub::list(const std::string& after,
                                                      const std::string& name_prefix,
                                                      std::size_t limit) {
    std::vector<v1::AttachmentStatus> out;
    const std::lock_guard lock(mutex_);
    const bool resume = !after.empty() && after >= name_prefix;
    auto at = resume ? attached_.upper_bound(after) : attached_.lower_bound(name_prefix);
    for (; at != attached_.end() && at->first.starts_with(name_prefix) && out.size() < limit; ++at)
        out.push_back(at->second.session->status());
    return out;
}

void SignallingHub::look_at(const std::shared_ptr<UrStream>& session) {
    const std::lock_guard lock(mutex_);
    if (stopping_) return session->end(v1::Refused::UNAVAILABLE, "this DR's control is ending");
    put(session);
    work_.notify_one();
}

// With the lock held.
void SignallingHub::put(const std::shared_ptr<UrStream>& session) {
    if (queued_.insert(session.get()).second) due_.push_back(session);
}

void SignallingHub::leave(const UrStream& session) {
    const std::lock_guard lock(mutex_);
    const auto at = attached_.find(session.peer().subscriber);
    if (at == attached_.end() || at->second.session.get() != &session) return;
    attached_.erase(at);
    if (!stopping_) tell(Journal::Level::Info, kDetached, session.peer(), session.why_over());
}

void SignallingHub::stop() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
        for (const auto& [name, attached] : attached_)
            attached.session->end(v1::Refused::UNAVAILABLE, "this DR's control is ending");
    }
    work_.notify_one();
    if (thread_.joinable()) thread_.join();
}

void SignallingHub::run() {
    std::unique_lock lock(mutex_);
    for (;;) {
        work_.wait(lock, [this] { return stopping_ || !due_.empty() || !urgent_.empty(); });
        if (stopping_) return;
        auto& queue = urgent_.empty() ? due_ : urgent_;
        const auto session = std::move(queue.front());
        queue.pop_front();
        if (&queue == &due_) queued_.erase(session.get());
        lock.unlock();
        serve(session);
        lock.lock();
    }
}

void SignallingHub::serve(const std::shared_ptr<UrStream>& session) {
    // A superseded session must not supersede its successor.
    if (session->over() || session->ended()) return;
    const std::string& name = session->peer().subscriber;
    try {
        const auto site = catalog_.site(name);
        const auto why =
            site ? refusal(session->peer(), site->secrets) : std::optional(not_here(name));
        if (why) return refuse(*session, *why);
        retire_older(session->peer(), site->secrets);
        admit(session, site->policy.name());
        session->send(make_attachment(*site, session->lines(), drs_));
    } catch (const StoreError& e) {
        session->end(v1::Refused::UNAVAILABLE, e.what());
    }
}

void SignallingHub::tell(Journal::Level level, const char* kind, const PeerIdentity& peer,
                         const std::string& cause) {
    if (journal_ == nullptr) return;
    journal_->tell(level, {kind, peer.subscriber, cause, peer_text(peer.address), 0, {}});
}

void SignallingHub::tell_refused(const PeerIdentity& peer, const v1::Refused& why) {
    const bool unknown = why.reason() == v1::Refused::UNKNOWN_SUBSCRIBER;
    tell(Journal::Level::Warning, kRefusedCredentials, peer,
         unknown ? "the subscriber is not provisioned here" : why.text());
}

void SignallingHub::refuse(UrStream& session, const v1::Refused& why) {
    {
        // The end of an attached session is logged.
        const std::lock_guard lock(mutex_);
        const auto at = attached_.find(session.peer().subscriber);
        if (at == attached_.end() || at->second.session.get() != &session)
            tell_refused(session.peer(), why);
    }
    session.end(why.reason(), why.text());
}

void SignallingHub::stranger(const std::string& claimed, const std::string& why) {
    if (journal_ == nullptr) return;
    const std::string said =
        claimed.empty() ? std::string() : fmt::format("by the name of {}", quoted(claimed));
    journal_->tell(Journal::Level::Warning, {kRefusedCredentials, {}, why, {}, 0, said});
}

void SignallingHub::site_refused(const std::string& subscriber, const std::string& why) {
    if (journal_ == nullptr) return;
    journal_->tell(Journal::Level::Warning, {kRefusedCredentials, subscriber, why, {}, 0, {}});
}

// The first attach with a certificate that replaces others removes these. If the store cannot be
// written, they stay until the next attach.
void SignallingHub::retire_older(const PeerIdentity& peer, const store::Secrets& secrets) {
    const std::string bytes = fingerprint_of(peer);
    for (const auto& certificate : secrets.certificates()) {
        if (certificate.fingerprint() != bytes || !certificate.replaces_older()) continue;
        (void)Credentials::used(catalog_, peer.subscriber, bytes);
        return;
    }
}

std::string SignallingHub::fingerprint_in_use(const std::string& subscriber) {
    const std::lock_guard lock(mutex_);
    const auto at = attached_.find(subscriber);
    return at == attached_.end() ? std::string() : fingerprint_of(at->second.session->peer());
}

std::optional<v1::Refused> SignallingHub::refusal(const PeerIdentity& peer) {
    const auto secrets = catalog_.secrets(peer.subscriber);
    auto why = secrets ? refusal(peer, *secrets) : not_here(peer.subscriber);
    if (why) tell_refused(peer, *why);
    return why;
}

std::optional<v1::Refused> SignallingHub::refusal(const PeerIdentity& peer,
                                                  const store::Secrets& secrets) const {
    const std::string bytes = fingerprint_of(peer);
    for (const auto& certificate : secrets.certificates())
        if (certificate.fingerprint() == bytes) return std::nullopt;
    const bool foreign =
        !others_.empty() &&
        pki::check_chain(*peer.certificate, peer.chain, others_, pki::Purpose::Client).empty();
    if (foreign && !secrets.enrolled_only()) return std::nullopt;
    return refused(
        v1::Refused::REVOKED,
        "the certificate is revoked or was not issued here; enroll the subscriber again");
}

void SignallingHub::admit(const std::shared_ptr<UrStream>& session, const std::string& policy) {
    const std::lock_guard lock(mutex_);
    Attached& attached = attached_[session->peer().subscriber];
    if (attached.session && attached.session != session)
        attached.session->end(v1::Refused::SUPERSEDED,
                              "the subscriber has attached again, from " + session->peer().address);
    if (attached.session != session)
        tell(Journal::Level::Info, kAttached, session->peer(), attached.session ? "again" : "");
    // A change that was committed after the site was read and before this point found no session to
    // update. So the session is checked once more.
    if (attached.session != session || attached.policy != policy) put(session);
    attached = {session, policy};
    // A session that has ended meanwhile will not report its end again, and would stay for ever.
    if (!session->over()) return;
    attached_.erase(session->peer().subscriber);
}

}  // namespace dr::control
