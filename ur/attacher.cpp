// Attachments pass from the signalling thread to the main thread.
#include "ur/attacher.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <system_error>
#include <utility>

#include "ur/log.h"

namespace dr::ur {

Attacher::Attacher(v1::Credentials credentials, SignallingOptions options, Apply apply)
    : options_(std::move(options)),
      apply_(std::move(apply)),
      wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    if (wake_ < 0) throw std::system_error(errno, std::generic_category(), "eventfd");
    try {
        client_ = make_client(std::move(credentials));
    } catch (...) {
        ::close(wake_);
        throw;
    }
}

std::unique_ptr<SignallingClient> Attacher::make_client(v1::Credentials credentials) {
    SignallingEvents events;
    events.attached = [this](const v1::Attachment& attachment, Source source) {
        return arrived(attachment, source);
    };
    events.changed = [](bool connected, const std::string& address, const std::string& detail) {
        say("event=signalling connected=%d dr=%s%s%s", connected ? 1 : 0, address.c_str(),
            detail.empty() ? "" : " detail=", detail.c_str());
    };
    return std::make_unique<SignallingClient>(std::move(credentials), options_, std::move(events));
}

void Attacher::end_client() {
    {
        const std::lock_guard lock(mutex_);
        closing_ = true;
    }
    applied_.notify_all();
    client_.reset();
}

Attacher::~Attacher() {
    end_client();
    ::close(wake_);
}

// What has arrived is applied first, so that the client is not told that it cannot be.
void Attacher::renew(v1::Credentials credentials) {
    auto fresh = make_client(std::move(credentials));
    take();
    end_client();
    const std::lock_guard lock(mutex_);
    closing_ = false;
    waiting_ = nullptr;
    client_ = std::move(fresh);
}

void Attacher::start() {
    client_->start();
}

std::string Attacher::arrived(const v1::Attachment& attachment, Source source) {
    if (source == Source::Disk) return apply_(attachment, source);  // from within start()
    std::unique_lock lock(mutex_);
    waiting_ = &attachment;
    source_ = source;
    const std::uint64_t one = 1;
    if (::write(wake_, &one, sizeof one) < 0) errno = 0;  // it is readable already
    applied_.wait(lock, [this] { return waiting_ == nullptr || closing_; });
    return std::exchange(waiting_, nullptr) == nullptr ? verdict_ : "urd is ending";
}

void Attacher::take() {
    std::uint64_t count = 0;
    if (::read(wake_, &count, sizeof count) < 0) return;
    const std::lock_guard lock(mutex_);
    if (waiting_ == nullptr) return;
    verdict_ = apply_(*waiting_, source_);
    waiting_ = nullptr;
    applied_.notify_all();
}

}  // namespace dr::ur
