// Reads and writes the messages of one UR's stream.
#include "control/signalling/session.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include "base/printable.h"
#include "control/model/check.h"
#include "control/signalling/hub.h"

namespace dr::control {

grpc::StatusCode code_of(v1::Refused::Reason reason) {
    switch (reason) {
        case v1::Refused::REVOKED:
            return grpc::StatusCode::PERMISSION_DENIED;
        case v1::Refused::UNKNOWN_SUBSCRIBER:
            return grpc::StatusCode::NOT_FOUND;
        case v1::Refused::SUPERSEDED:
            return grpc::StatusCode::ABORTED;
        case v1::Refused::PROTOCOL:
            return grpc::StatusCode::INVALID_ARGUMENT;
        default:
            return grpc::StatusCode::UNAVAILABLE;
    }
}

void SignallingSession::start() {
    self_ = shared_from_this();
    after(kHelloPatience, hello_alarm_, &SignallingSession::no_hello);
    StartRead(&incoming_);
}

void SignallingSession::after(std::chrono::milliseconds time, grpc::Alarm& alarm,
                              void (SignallingSession::*call)()) {
    const gpr_timespec at = gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                                         gpr_time_from_millis(time.count(), GPR_TIMESPAN));
    alarm.Set(at, [weak = weak_from_this(), call](bool due) {
        const auto self = due ? weak.lock() : nullptr;
        if (self != nullptr) (self.get()->*call)();
    });
}

void SignallingSession::no_hello() {
    {
        const std::lock_guard lock(mutex_);
        if (hello_) return;
    }
    end(v1::Refused::PROTOCOL,
        fmt::format("no hello in {} s; it is the first message", kHelloPatience.count()));
}

// Cuts the stream off: a peer that does not read never receives the final status.
void SignallingSession::cut_off() {
    const std::lock_guard lock(mutex_);
    if (!over_) context_.TryCancel();
}

bool SignallingSession::ended() {
    const std::lock_guard lock(mutex_);
    return refused_.has_value();
}

std::string SignallingSession::why_over() const {
    const std::lock_guard lock(mutex_);
    if (!refused_) return "the stream ended";
    switch (refused_->reason()) {
        case v1::Refused::REVOKED:
            return "revoked";
        case v1::Refused::UNKNOWN_SUBSCRIBER:
            return "the subscriber was deleted";
        case v1::Refused::SUPERSEDED:
            return "superseded";
        case v1::Refused::PROTOCOL:
            return "it broke the protocol";
        default:
            return "ended by this DR";
    }
}

std::vector<v1::Line> SignallingSession::lines() {
    const std::lock_guard lock(mutex_);
    return lines_;
}

v1::AttachmentStatus SignallingSession::status() {
    const std::lock_guard lock(mutex_);
    v1::AttachmentStatus out;
    out.set_subscriber(peer_.subscriber);
    out.set_peer(peer_.address);
    if (hello_) out.set_version(hello_->version());
    if (hello_) out.set_incarnation(hello_->incarnation());
    const auto age = std::chrono::steady_clock::now() - since_;
    out.set_attached_for_ms(static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::milliseconds>(age).count()));
    out.set_sent_generation(sent_);
    out.set_applied_generation(applied_);
    out.set_declined_generation(declined_.generation());
    out.set_declined_why(declined_.why());
    return out;
}

void SignallingSession::send(v1::Attachment attachment) {
    const std::lock_guard lock(mutex_);
    admitted_ = true;
    log_declined();
    waiting_ = std::move(attachment);
    write_next();
}

void SignallingSession::end(v1::Refused::Reason reason, const std::string& text) {
    const std::lock_guard lock(mutex_);
    if (refused_) return;
    refused_.emplace();
    refused_->set_reason(reason);
    refused_->set_text(text);
    // The final status is a write too; a peer that reads gets both well within this time.
    after(kEndPatience, end_alarm_, &SignallingSession::cut_off);
    write_next();
}

// With the lock held.
void SignallingSession::write_next() {
    if (writing_ || finished_) return;
    if (refused_) {
        finished_ = true;
        *outgoing_.mutable_refused() = *refused_;
        StartWriteAndFinish(&outgoing_, grpc::WriteOptions(),
                            {code_of(refused_->reason()), refused_->text()});
        return;
    }
    if (!waiting_) return;
    std::string bytes = waiting_->SerializeAsString();
    const bool news = bytes != last_sent_;
    if (news) {
        last_sent_ = std::move(bytes);
        sent_ = waiting_->generation();
        outgoing_.mutable_attachment()->Swap(&*waiting_);
        writing_ = true;
        StartWrite(&outgoing_);
    }
    waiting_.reset();
}

// With the lock held. A write in hand ends first.
void SignallingSession::finish(grpc::Status status) {
    if (finished_) return;
    finished_ = true;
    if (writing_)
        final_ = std::move(status);
    else
        Finish(std::move(status));
}

void SignallingSession::OnWriteDone(bool ok) {
    const std::lock_guard lock(mutex_);
    writing_ = false;
    if (final_) return Finish(*final_);
    if (!ok) return finish({grpc::StatusCode::UNAVAILABLE, "the stream is broken"});
    write_next();
}

void SignallingSession::OnReadDone(bool ok) {
    if (!ok) {
        const std::lock_guard lock(mutex_);
        return finish(grpc::Status::OK);
    }
    take(incoming_);
    StartRead(&incoming_);
}

void SignallingSession::take(const v1::UrMessage& message) {
    std::unique_lock lock(mutex_);
    if (refused_) return;
    std::string fault;
    bool changed = false;
    if (message.has_hello() != !hello_) {
        fault = hello_ ? "a second hello; it is the first message, and only that"
                       : "the first message must be a hello";
    } else if (message.has_hello()) {
        hello_ = message.hello();
        hello_->set_version(shown(hello_->version()));
        fault = take_lines(message.hello().lines());
        take_declined(message.hello().declined());
        changed = true;
    } else if (message.has_lines()) {
        fault = take_lines(message.lines().lines());
        changed = true;
    } else if (message.has_applied()) {
        applied_ = message.applied().generation();
        declined_.Clear();
    } else if (message.has_declined()) {
        take_declined(message.declined());
    }
    lock.unlock();
    if (!fault.empty()) return end(v1::Refused::PROTOCOL, fault);
    if (changed) hub_.look_at(shared_from_this());
}

// With the lock held. A UR that repeats itself is not logged again.
void SignallingSession::take_declined(const v1::Declined& declined) {
    constexpr std::size_t kMost = 1000;
    if (declined.generation() == 0) return;
    v1::Declined now;
    now.set_generation(declined.generation());
    now.set_why(shown(declined.why(), kMost));
    if (now.SerializeAsString() == declined_.SerializeAsString()) return;
    declined_ = std::move(now);
    declined_unlogged_ = true;
    log_declined();
}

// With the lock held. A peer that may not attach must not fill the log.
void SignallingSession::log_declined() {
    if (!admitted_ || !std::exchange(declined_unlogged_, false)) return;
    const auto unlogged = gate_.words(peer_.key);
    if (!unlogged) return;
    const std::string more =
        *unlogged == 0 ? std::string() : fmt::format(" ({} like this were not logged)", *unlogged);
    std::fprintf(
        stderr, "drd: the router of subscriber %s declines generation %llu, and says %s%s\n",
        quoted(peer_.subscriber).c_str(), static_cast<unsigned long long>(declined_.generation()),
        quoted(declined_.why(), declined_.why().size()).c_str(), more.c_str());
}

std::string SignallingSession::take_lines(
    const google::protobuf::RepeatedPtrField<v1::Line>& lines) {
    if (lines.size() > kMaxLines)
        return fmt::format("{} lines; the limit is {}", lines.size(), kMaxLines);
    for (const auto& line : lines)
        if (!is_line_name(line.name())) return "a line's name is not [a-z0-9][a-z0-9.-]{0,30}";
    lines_.assign(lines.begin(), lines.end());
    return {};
}

void SignallingSession::OnCancel() {
    const std::lock_guard lock(mutex_);
    finish(grpc::Status::CANCELLED);
}

void SignallingSession::OnDone() {
    {
        const std::lock_guard lock(mutex_);
        over_ = true;
    }
    hello_alarm_.Cancel();
    end_alarm_.Cancel();
    hub_.leave(*this);
    self_.reset();
}

}  // namespace dr::control
