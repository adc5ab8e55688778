// One connection to one DR, and the stream on it. Used from the client's thread; what comes in is
// taken from it there.
#pragma once

#include <grpcpp/grpcpp.h>

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "dr/v1/api.pb.h"
#include "dr/v1/signalling.grpc.pb.h"
#include "ur/signalling/client.h"
#include "ur/signalling/relay.h"

namespace dr::ur {

// A DR as one of its addresses, and the way there.
struct DrAddress {
    std::string name;     // that its certificate must carry
    std::string address;  // host:port
    std::string device;   // to connect out of; empty: as the kernel routes
    bool operator==(const DrAddress&) const = default;
    [[nodiscard]] bool same_dr(const DrAddress& other) const {
        return name == other.name && address == other.address;
    }
    // For people.
    [[nodiscard]] std::string text() const {
        return device.empty() ? address : address + " over " + device;
    }
};

class SignallingStream final : public grpc::ClientBidiReactor<v1::UrMessage, v1::DrMessage> {
  public:
    // Connects and says `hello`. `wake` is called, from any thread, when take() or result() has
    // news. Throws pki::PkiError when the credentials' CA cannot be read, std::system_error when
    // there is no socket to be had.
    SignallingStream(const v1::Credentials& credentials, const SignallingOptions& options,
                     const DrAddress& dr, const v1::Hello& hello, std::function<void()> wake);
    SignallingStream(const SignallingStream&) = delete;
    SignallingStream& operator=(const SignallingStream&) = delete;
    // Waits for the end of the stream, which it brings about.
    ~SignallingStream() override;

    std::optional<v1::DrMessage> take();
    // Set when the stream is over; everything has been taken by then or is still in take().
    [[nodiscard]] std::optional<grpc::Status> result();
    // What is known of a failure beyond result(); may be empty.
    [[nodiscard]] std::string fault() const;
    // The DR's address as the connection has it ("ipv4:192.0.2.1:4755", or "192.0.2.1:4755" out of
    // a device); after take() has had a message.
    [[nodiscard]] std::string peer() const { return relay_ ? relay_->peer() : context_.peer(); }
    void send(const v1::UrMessage& message);
    // Lets go of the stream, whatever it is doing.
    void cancel() { context_.TryCancel(); }

  private:
    void OnReadDone(bool ok) override;
    void OnWriteDone(bool ok) override;
    void OnDone(const grpc::Status& status) override;
    void write_next();
    void read_on();

    // Why the DR's certificate was refused; its verifier may outlive the stream.
    struct Verdict {
        std::mutex mutex;
        std::string why;
    };
    const std::function<void()> wake_;
    const std::shared_ptr<Verdict> verdict_ = std::make_shared<Verdict>();
    const std::unique_ptr<LineRelay> relay_;  // of a stream out of a given device
    std::shared_ptr<grpc::Channel> channel_;
    std::unique_ptr<v1::Signalling::Stub> stub_;
    grpc::ClientContext context_;
    v1::DrMessage incoming_;

    std::mutex mutex_;  // all below
    std::condition_variable over_;
    std::deque<v1::DrMessage> received_;
    std::deque<v1::UrMessage> to_send_;  // the first is being written while writing_
    bool writing_ = false;
    bool paused_ = false;  // no read is under way: enough waits to be taken
    bool ending_ = false;
    bool broken_ = false;
    std::optional<grpc::Status> result_;
};

}  // namespace dr::ur
