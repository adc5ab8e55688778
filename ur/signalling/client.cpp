// The client's thread: which DR, which address, which line, when.
#include "ur/signalling/client.h"

#include <stdlib.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <random>
#include <system_error>
#include <thread>

#include "base/printable.h"
#include "pki/peer_verifier.h"
#include "ur/signalling/cache.h"
#include "ur/signalling/stream.h"
#include "ur/signalling/way_back.h"

namespace dr::ur {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

// From the start of an attempt to the DR's first message.
constexpr milliseconds kFirstAnswer{10'000};

// A DR's messages that are taken at once, and how often one is taken after these. Each may be an
// attachment: a change of the data path, a write to the disk, a line in the log.
constexpr double kAtOnce = 32;
constexpr double kPerSecond = 10;

// A connection that the DR has closed is a word of gRPC's. Before an answer it is how TLS 1.3 shows
// this end that the other one does not take its certificate.
std::string ending_text(const grpc::Status& status, bool answered) {
    const std::string& text = status.error_message();
    if (text.find("Socket closed") == std::string::npos) return text;
    if (answered) return "the DR has closed the connection";
    return "the DR has closed the connection before an answer: it may refuse this router's "
           "certificate, which its log and `drcli event list --kind refused` say";
}

}  // namespace

class SignallingClient::Core {
  public:
    Core(v1::Credentials credentials, SignallingOptions options, SignallingEvents events)
        : credentials_(std::move(credentials)),
          options_(std::move(options)),
          events_(std::move(events)),
          cache_(options_.cache),
          way_back_(options_.cache, options_.fallback_after),
          random_(std::random_device{}()) {
        check_credentials(credentials_, "credentials");
    }

    void start() {
        std::string why;
        const auto cached = way_back_.start(cache_, credentials_.subscriber(), Clock::now(), why);
        if (cached)
            if (std::string failed = put_in_force(*cached, Source::Disk); !failed.empty())
                why = std::move(failed);
        if (!why.empty()) report(false, {}, why);
        tell_declined();
        thread_ = std::thread([this] { run(); });
    }
    void stop() {
        {
            const std::lock_guard lock(mutex_);
            stopping_ = true;
        }
        changed_.notify_all();
        if (thread_.joinable()) thread_.join();
    }
    void set_lines(std::vector<v1::Line> lines) {
        const std::lock_guard lock(mutex_);
        lines_ = std::move(lines);
        lines_changed_ = true;
        wake();
    }
    void try_now() {
        const std::lock_guard lock(mutex_);
        hurry_ = true;
        wake();
    }
    SignallingStatus status() {
        const std::lock_guard lock(mutex_);
        return status_;
    }

  private:
    // With the lock held.
    void wake() {
        news_ = true;
        changed_.notify_all();
    }
    void run();
    bool attempt(const DrAddress& dr);
    bool follow(SignallingStream& stream, const DrAddress& dr);
    bool take(SignallingStream& stream, const v1::DrMessage& message, const DrAddress& dr);
    // Empty: done; otherwise why not.
    std::string put_in_force(const v1::Attachment& attachment, Source source);
    void take_attachment(SignallingStream& stream, const v1::Attachment& attachment,
                         const DrAddress& dr);
    void declined(SignallingStream& stream, std::uint64_t generation, const std::string& why);
    void tell_declined();
    // Of the attachment that works: why it is not on disk; empty: it is, or nothing is new.
    void tell_unsaved(bool connected, const DrAddress& dr, const std::string& why);
    // Takes the other attachment where signalling has not come back with this one.
    void go_back_if_due();
    // When follow() has to look again though nothing has come.
    [[nodiscard]] Clock::time_point next_look(bool attached) const;
    void tell_lines(SignallingStream& stream);
    v1::Hello hello();
    std::vector<DrAddress> candidates();
    void report(bool connected, const std::string& address, const std::string& detail);
    void wait(milliseconds time);
    bool pace();
    bool stopping() {
        const std::lock_guard lock(mutex_);
        return stopping_;
    }

    const v1::Credentials credentials_;
    const SignallingOptions options_;
    const SignallingEvents events_;
    AttachmentCache cache_;                               // this thread, and start()
    WayBack way_back_;                                    // likewise
    Clock::time_point stream_since_;                      // likewise; of the present attempt
    std::vector<v1::SignallingAddress> attachments_drs_;  // likewise
    std::string last_device_;                             // likewise; of the way that worked last
    bool refused_ = false;                                // likewise; in the latest attempt
    double may_take_ = kAtOnce;                           // likewise; messages, as of paced_
    Clock::time_point paced_ = Clock::now();              // likewise
    std::mt19937_64 random_;                              // likewise; of back-offs only
    std::thread thread_;

    std::mutex mutex_;  // all below
    std::condition_variable changed_;
    bool stopping_ = false;
    bool news_ = false;
    bool hurry_ = false;
    bool lines_changed_ = false;
    std::vector<v1::Line> lines_;
    SignallingStatus status_;
};

void SignallingClient::Core::run() {
    milliseconds pause = options_.first_back_off;
    while (!stopping()) {
        bool attached = false;
        std::optional<DrAddress> refused_by;
        for (const auto& dr : candidates()) {
            if (stopping()) return;
            go_back_if_due();
            // It would say the same over another line.
            if (refused_by && refused_by->same_dr(dr)) continue;
            attached = attempt(dr);
            if (attached) break;
            if (refused_) refused_by = dr;
        }
        if (attached) pause = options_.first_back_off;
        const auto refused = status().refused;
        const bool final =
            refused != v1::Refused::REASON_UNSPECIFIED && refused != v1::Refused::UNAVAILABLE;
        const milliseconds most = final ? options_.refused_back_off : pause;
        std::uniform_int_distribution<std::int64_t> shortened(most.count() / 2, most.count());
        wait(milliseconds(shortened(random_)));
        pause = std::min(pause * 2, options_.longest_back_off);
    }
}

void SignallingClient::Core::wait(milliseconds time) {
    const auto until = std::min(Clock::now() + time, way_back_.due());
    {
        std::unique_lock lock(mutex_);
        changed_.wait_until(lock, until, [this] { return stopping_ || hurry_; });
        hurry_ = false;
    }
    go_back_if_due();
}

// Waits until another message may be taken. False: the client is to stop.
bool SignallingClient::Core::pace() {
    const auto now = Clock::now();
    const std::chrono::duration<double> since = now - paced_;
    may_take_ = std::min(kAtOnce, may_take_ + since.count() * kPerSecond) - 1;
    paced_ = now;
    std::unique_lock lock(mutex_);
    if (may_take_ >= 0) return !stopping_;
    const std::chrono::duration<double> missing(-may_take_ / kPerSecond);
    return !changed_.wait_for(lock, missing, [this] { return stopping_; });
}

std::vector<DrAddress> SignallingClient::Core::candidates() {
    std::vector<DrAddress> out;
    const auto add_one = [&](const DrAddress& candidate) {
        if (std::find(out.begin(), out.end(), candidate) == out.end()) out.push_back(candidate);
    };
    const auto add = [&](const auto& drs) {
        for (const auto& dr : drs)
            for (const auto& address : dr.addresses()) {
                add_one({dr.name(), address, last_device_});
                add_one({dr.name(), address, {}});
                for (const auto& device : options_.devices) add_one({dr.name(), address, device});
            }
    };
    add(attachments_drs_);
    add(credentials_.drs());
    return out;
}

v1::Hello SignallingClient::Core::hello() {
    v1::Hello hello;
    hello.set_version(options_.version);
    hello.set_incarnation(options_.incarnation);
    const std::lock_guard lock(mutex_);
    for (const auto& line : lines_) *hello.add_lines() = line;
    lines_changed_ = false;
    hello.set_known_generation(status_.generation);
    if (status_.declined.generation() != 0) *hello.mutable_declined() = status_.declined;
    ++status_.attempts;
    return hello;
}

// True: it had attached.
bool SignallingClient::Core::attempt(const DrAddress& dr) {
    refused_ = false;
    stream_since_ = Clock::now();
    try {
        SignallingStream stream(credentials_, options_, dr, hello(), [this] {
            const std::lock_guard lock(mutex_);
            wake();
        });
        return follow(stream, dr);
    } catch (const pki::PkiError& e) {
        report(false, dr.text(), e.what());
    } catch (const std::system_error& e) {
        report(false, dr.text(), e.what());
    }
    return false;
}

bool SignallingClient::Core::follow(SignallingStream& stream, const DrAddress& dr) {
    bool attached = false;
    const auto deadline = stream_since_ + kFirstAnswer;
    for (;;) {
        {
            std::unique_lock lock(mutex_);
            const auto ready = [this] { return stopping_ || news_; };
            const bool news = changed_.wait_until(lock, next_look(attached), ready);
            if (!news && !attached && Clock::now() >= deadline) stream.cancel();
            news_ = false;
            if (stopping_) return attached;
        }
        while (const auto message = stream.take()) {
            if (!pace()) return attached;
            attached = take(stream, *message, dr) || attached;
            tell_lines(stream);  // also when there is no end of messages
        }
        // The pings of this time were answered.
        if (attached && !stream.result())
            tell_unsaved(true, dr, way_back_.stands(Clock::now() - options_.proven_after));
        if (!attached) go_back_if_due();
        tell_lines(stream);
        if (const auto result = stream.result()) {
            const bool late = !attached && Clock::now() >= deadline;
            const std::string fault = stream.fault();
            report(false, dr.text(),
                   result->ok()     ? "the DR has ended the stream"
                   : !fault.empty() ? fault
                   : late ? "no answer in 10 s: is the name right, and the way there open?"
                          : ending_text(*result, attached || refused_));
            return attached;
        }
        // A stream that timed out has a result soon; news will tell.
        if (!attached && Clock::now() >= deadline) {
            std::unique_lock lock(mutex_);
            changed_.wait(lock, [this] { return stopping_ || news_; });
        }
    }
}

// True: the DR takes this UR.
bool SignallingClient::Core::take(SignallingStream& stream, const v1::DrMessage& message,
                                  const DrAddress& dr) {
    if (message.has_refused()) {
        refused_ = true;
        tell_unsaved(false, dr, way_back_.answered(stream_since_));  // it can be reached
        const std::lock_guard lock(mutex_);
        status_.refused = message.refused().reason();
        return false;
    }
    if (!message.has_attachment()) return false;
    {
        const std::lock_guard lock(mutex_);
        status_.peer = stream.peer();
    }
    last_device_ = dr.device;
    take_attachment(stream, message.attachment(), dr);
    return true;
}

void SignallingClient::Core::take_attachment(SignallingStream& stream,
                                             const v1::Attachment& attachment,
                                             const DrAddress& dr) {
    // The DR has answered a stream that began with what is in force.
    tell_unsaved(true, dr, way_back_.answered(stream_since_));
    if (const std::string why = way_back_.declines(attachment); !why.empty()) {
        declined(stream, attachment.generation(), why);
        return report(true, dr.text(), why);
    }
    std::string why = put_in_force(attachment, Source::Dr);
    if (!why.empty()) {
        declined(stream, attachment.generation(), why);
        return report(true, dr.text(), why);
    }
    why = cache_.save(attachment);
    way_back_.applied(attachment, Clock::now());
    {
        const std::lock_guard lock(mutex_);
        status_.declined.Clear();
    }
    v1::UrMessage message;
    message.mutable_applied()->set_generation(attachment.generation());
    stream.send(message);
    report(true, dr.text(), why);
}

void SignallingClient::Core::declined(SignallingStream& stream, std::uint64_t generation,
                                      const std::string& why) {
    constexpr std::size_t kMost = 1000 - 3;  // and "…", of 3 bytes
    v1::UrMessage message;
    message.mutable_declined()->set_generation(generation);
    message.mutable_declined()->set_why(shown(printable(why), kMost));
    {
        const std::lock_guard lock(mutex_);
        status_.declined = message.declined();
    }
    stream.send(message);
}

void SignallingClient::Core::tell_declined() {
    const auto aside = way_back_.aside();
    const std::lock_guard lock(mutex_);
    status_.declined = aside.value_or(v1::Declined());
}

void SignallingClient::Core::tell_unsaved(bool connected, const DrAddress& dr,
                                          const std::string& why) {
    if (!why.empty()) report(connected, dr.text(), why);
}

void SignallingClient::Core::go_back_if_due() {
    if (Clock::now() < way_back_.due()) return;
    const v1::Attachment other = way_back_.other();
    const std::uint64_t from = status().generation;
    std::string why = put_in_force(other, Source::Back);
    const std::string step =
        "generation " + std::to_string(from) + ": signalling has not come back";
    if (!why.empty()) {
        way_back_.stay(Clock::now());
        return report(false, status().address, step + "; it stays in force: " + why);
    }
    why = way_back_.gone_back(cache_, Clock::now());
    tell_declined();
    report(false, status().address,
           step + "; " +
               (other.subscriber().empty() ? std::string("nothing")
                                           : "generation " + std::to_string(other.generation())) +
               " is in force again" + (why.empty() ? "" : "; " + why));
}

Clock::time_point SignallingClient::Core::next_look(bool attached) const {
    const auto now = Clock::now();
    if (attached) return std::min(now + kFirstAnswer, way_back_.proof_due(options_.proven_after));
    return std::min(stream_since_ + kFirstAnswer, way_back_.due());
}

std::string SignallingClient::Core::put_in_force(const v1::Attachment& attachment, Source source) {
    std::string why = events_.attached ? events_.attached(attachment, source) : std::string();
    if (!why.empty()) return why;
    attachments_drs_.assign(attachment.drs().begin(), attachment.drs().end());
    const std::lock_guard lock(mutex_);
    status_.generation = attachment.generation();
    status_.cached = source != Source::Dr;
    return why;
}

void SignallingClient::Core::tell_lines(SignallingStream& stream) {
    v1::UrMessage message;
    {
        const std::lock_guard lock(mutex_);
        if (!lines_changed_) return;
        lines_changed_ = false;
        for (const auto& line : lines_) *message.mutable_lines()->add_lines() = line;
    }
    message.mutable_lines();
    stream.send(message);
}

void SignallingClient::Core::report(bool connected, const std::string& address,
                                    const std::string& detail) {
    {
        const std::lock_guard lock(mutex_);
        const bool same = status_.connected == connected && status_.address == address &&
                          status_.detail == detail;
        status_.connected = connected;
        status_.address = address;
        status_.detail = detail;
        if (connected) status_.refused = v1::Refused::REASON_UNSPECIFIED;
        if (same) return;
    }
    if (events_.changed) events_.changed(connected, address, detail);
}

SignallingClient::SignallingClient(v1::Credentials credentials, SignallingOptions options,
                                   SignallingEvents events) {
    pki::require_tls13();
    // As everything else on this machine resolves names; gRPC's own way asks the DNS for IPv6
    // addresses of a name that /etc/hosts has, and waits for an answer that does not come.
    ::setenv("GRPC_DNS_RESOLVER", "native", 0);
    core_ = std::make_unique<Core>(std::move(credentials), std::move(options), std::move(events));
}

SignallingClient::~SignallingClient() {
    stop();
}

void SignallingClient::start() {
    core_->start();
}

void SignallingClient::stop() {
    core_->stop();
}

void SignallingClient::set_lines(std::vector<v1::Line> lines) {
    core_->set_lines(std::move(lines));
}

void SignallingClient::try_now() {
    core_->try_now();
}

SignallingStatus SignallingClient::status() const {
    return core_->status();
}

}  // namespace dr::ur
