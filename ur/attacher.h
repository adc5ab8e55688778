// Signalling as the main loop sees it: attachments arrive on a file descriptor, and are applied on
// the main thread while the client's own thread waits, so that the DR is told of a generation only
// when it is in force.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "ur/signalling/client.h"

namespace dr::ur {

class Attacher final {
  public:
    // Puts an attachment in force, on the thread of start() and take(). Empty: done; otherwise why
    // not. Not to throw.
    using Apply = std::function<std::string(const v1::Attachment& attachment, Source source)>;

    // Throws std::runtime_error for bad credentials, std::system_error.
    Attacher(v1::Credentials credentials, SignallingOptions options, Apply apply);
    // Ends the client; nothing is applied any more.
    ~Attacher();
    Attacher(const Attacher&) = delete;
    Attacher& operator=(const Attacher&) = delete;

    // Applies the cached attachment, if there is one, then attaches in the background.
    void start();
    // Ends the client and makes another one, which start() begins. Throws as the constructor does;
    // the present one goes on then.
    void renew(v1::Credentials credentials);
    [[nodiscard]] int fd() const { return wake_; }
    // When fd() is readable: applies what has arrived.
    void take();

    void set_lines(std::vector<v1::Line> lines) { client_->set_lines(std::move(lines)); }
    void try_now() { client_->try_now(); }
    [[nodiscard]] SignallingStatus status() const { return client_->status(); }

  private:
    std::unique_ptr<SignallingClient> make_client(v1::Credentials credentials);
    void end_client();
    std::string arrived(const v1::Attachment& attachment, Source source);

    const SignallingOptions options_;
    Apply apply_;
    int wake_;
    std::mutex mutex_;  // the four below
    std::condition_variable applied_;
    const v1::Attachment* waiting_ = nullptr;  // lives on the client's thread, which waits
    Source source_ = Source::Dr;               // of that
    std::string verdict_;
    bool closing_ = false;
    std::unique_ptr<SignallingClient> client_;
};

}  // namespace dr::ur
