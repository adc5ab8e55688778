// One stream of a UR: reads what it says, writes the latest attachment. It decides nothing; the hub
// (hub.h) does.
//
// Lives from Attach() to OnDone(); the hub's references keep the object, not the stream. All
// functions may be called from any thread.
#pragma once

#include <grpcpp/alarm.h>
#include <grpcpp/grpcpp.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "control/signalling/gate.h"
#include "control/signalling/ur_stream.h"
#include "dr/v1/api.pb.h"
#include "dr/v1/signalling.grpc.pb.h"
#include "pki/x509.h"

namespace dr::control {

class SignallingHub;

// The status of a stream that ends with this reason.
[[nodiscard]] grpc::StatusCode code_of(v1::Refused::Reason reason);

class SignallingSession final : public grpc::ServerBidiReactor<v1::UrMessage, v1::DrMessage>,
                                public UrStream,
                                public std::enable_shared_from_this<SignallingSession> {
  public:
    // Time for the hello; a UR without one would hold a stream for nothing.
    static constexpr std::chrono::seconds kHelloPatience{10};
    // Time until a stream whose peer does not read is cut off without a reason.
    static constexpr std::chrono::milliseconds kEndPatience{500};

    SignallingSession(SignallingHub& hub, Gate& gate, PeerIdentity peer,
                      grpc::CallbackServerContext& context)
        : hub_(hub),
          gate_(gate),
          peer_(std::move(peer)),
          context_(context),
          since_(std::chrono::steady_clock::now()) {}
    // Begins to read. The stream holds the object from now on.
    void start();

    [[nodiscard]] const PeerIdentity& peer() const override { return peer_; }
    [[nodiscard]] std::vector<v1::Line> lines() override;
    [[nodiscard]] v1::AttachmentStatus status() override;
    [[nodiscard]] bool over() const override { return over_.load(); }
    [[nodiscard]] std::string why_over() const override;
    [[nodiscard]] bool ended() override;
    void send(v1::Attachment attachment) override;
    void end(v1::Refused::Reason reason, const std::string& text) override;

  private:
    void OnReadDone(bool ok) override;
    void OnWriteDone(bool ok) override;
    void OnCancel() override;
    void OnDone() override;

    void take(const v1::UrMessage& message);
    void take_declined(const v1::Declined& declined);
    void log_declined();
    std::string take_lines(const google::protobuf::RepeatedPtrField<v1::Line>& lines);
    void write_next();
    void finish(grpc::Status status);
    void cut_off();
    // Calls the function after the time, unless the session is over by then.
    void after(std::chrono::milliseconds time, grpc::Alarm& alarm,
               void (SignallingSession::*call)());
    void no_hello();

    SignallingHub& hub_;
    Gate& gate_;
    const PeerIdentity peer_;
    grpc::CallbackServerContext& context_;  // until OnDone()
    const std::chrono::steady_clock::time_point since_;
    std::shared_ptr<SignallingSession> self_;  // until OnDone()
    std::atomic<bool> over_{false};
    v1::UrMessage incoming_;  // of the read in hand
    grpc::Alarm hello_alarm_;
    grpc::Alarm end_alarm_;

    mutable std::mutex mutex_;  // all below
    std::optional<v1::Hello> hello_;
    std::vector<v1::Line> lines_;
    std::optional<v1::Attachment> waiting_;
    std::string last_sent_;  // serialized
    std::optional<v1::Refused> refused_;
    v1::DrMessage outgoing_;  // of the write in hand
    bool writing_ = false;
    bool finished_ = false;              // the last word is said, or is said after this write:
    std::optional<grpc::Status> final_;  // this
    std::uint64_t sent_ = 0;
    std::uint64_t applied_ = 0;
    v1::Declined declined_;
    bool admitted_ = false;
    bool declined_unlogged_ = false;
};

}  // namespace dr::control
