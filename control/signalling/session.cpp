#include "control/signalling/session.h"

#include <fmt/format.h>

#include "control/model/check.h"
#include "control/signalling/hub.h"

namespace dr::control {
namespace {

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

}  // namespace

void SignallingSession::start() {
    self_ = shared_from_this();
    StartRead(&incoming_);
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
    return out;
}

void SignallingSession::send(v1::Attachment attachment) {
    const std::lock_guard lock(mutex_);
    waiting_ = std::move(attachment);
    write_next();
}

void SignallingSession::end(v1::Refused::Reason reason, const std::string& text) {
    const std::lock_guard lock(mutex_);
    if (refused_) return;
    refused_.emplace();
    refused_->set_reason(reason);
    refused_->set_text(text);
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
    std::string fault;
    bool changed = false;
    if (message.has_hello() != !hello_) {
        fault = hello_ ? "a second hello; it is the first message, and only that"
                       : "the first message must be a hello";
    } else if (message.has_hello()) {
        hello_ = message.hello();
        hello_->mutable_version()->resize(std::min<std::size_t>(hello_->version().size(), 64));
        fault = take_lines(message.hello().lines());
        changed = true;
    } else if (message.has_lines()) {
        fault = take_lines(message.lines().lines());
        changed = true;
    } else if (message.has_applied()) {
        applied_ = message.applied().generation();
    }
    lock.unlock();
    if (!fault.empty()) return end(v1::Refused::PROTOCOL, fault);
    if (changed) hub_.look_at(shared_from_this());
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
    over_ = true;
    hub_.leave(*this);
    self_.reset();
}

}  // namespace dr::control
