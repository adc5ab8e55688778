// Limits long calls: how many streams are open, and how long a call may be stuck because its client
// does not read.
//
// gRPC serves each stream of this API on one of 512 threads, for as long as the stream lasts.
// Answers of other calls wait in memory until the client takes them.
#pragma once

#include <grpcpp/grpcpp.h>
#include <grpcpp/support/server_interceptor.h>

#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "control/api/callers.h"

namespace dr::control {

// Open streams of one kind, in all, of each client and of each connection.
class StreamLimit {
  public:
    struct Most {
        unsigned all;
        unsigned of_client;
        unsigned of_connection;
    };
    // `what`: how a refusal calls them ("watches").
    StreamLimit(const char* what, Most most) : what_(what), most_(most) {}

    // A place, until it is destroyed.
    class Place {
      public:
        Place() = default;
        Place(Place&& other) noexcept
            : limit_(std::exchange(other.limit_, nullptr)), caller_(std::move(other.caller_)) {}
        Place& operator=(Place&&) = delete;
        ~Place();
        [[nodiscard]] bool valid() const { return limit_ != nullptr; }

      private:
        friend class StreamLimit;
        Place(StreamLimit& limit, Caller caller) : limit_(&limit), caller_(std::move(caller)) {}
        StreamLimit* limit_ = nullptr;
        Caller caller_;
    };
    // Not valid: there are too many, and refusal() is what to say.
    Place enter(const Caller& caller);
    [[nodiscard]] grpc::Status refusal() const;

  private:
    using Counts = std::map<std::string, unsigned>;
    static void leave(Counts& counts, const std::string& name);

    const char* what_;
    const Most most_;
    std::mutex mutex_;  // below
    unsigned open_ = 0;
    Counts clients_;
    Counts connections_;
};

// Ends calls whose answer the client does not take: a call with a message, or a final status, that
// has not been sent within kPatience. With more than kMostSending such calls it ends the oldest of
// the connection that has the most. With more than kMostReflections streams of reflection, which
// hold a thread each, it ends the oldest. A call on a connection that does not move cannot be
// ended, because gRPC waits for its write; then the connection is ended. Has a thread of its own;
// outlives the server.
class StallGuard {
  public:
    static constexpr std::chrono::seconds kPatience{15};
    static constexpr std::size_t kMostSending = 256;
    static constexpr std::size_t kMostReflections = 16;

    // `open`, if any, hears of the end of each call, and outlives the guard.
    explicit StallGuard(std::chrono::milliseconds patience = kPatience, OpenCalls* open = nullptr);
    StallGuard(const StallGuard&) = delete;
    StallGuard& operator=(const StallGuard&) = delete;
    ~StallGuard();

    // Watches every call of a server that is being built.
    void add_to(grpc::ServerBuilder& builder);
    // Where the server listens: the path of its Unix socket, or its TCP port.
    void serves(const std::string& path, int port);
    // From now on a client has a moment to receive its final status. Idempotent.
    void stop();

  private:
    struct State;
    class Call;
    class Factory;
    std::shared_ptr<State> state_;
};

}  // namespace dr::control
