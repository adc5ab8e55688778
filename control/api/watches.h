// What keeps calls that last from taking all that there is: how many streams are open, and for how
// long one may be stuck because its client does not read.
//
// gRPC serves each call of this API on a thread, for as long as it lasts, and has 512 of them.
#pragma once

#include <grpcpp/grpcpp.h>
#include <grpcpp/support/server_interceptor.h>

#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <string>

namespace dr::control {

// Open streams of one kind, in all and of each client. A client is a TCP connection; those of the
// Unix socket cannot be told apart, so they have the limit of all alone.
class StreamLimit {
  public:
    // `what`: how a refusal calls them ("watches").
    StreamLimit(const char* what, unsigned most, unsigned most_of_client)
        : what_(what), most_(most), most_of_client_(most_of_client) {}

    // A place, until it is destroyed.
    class Place {
      public:
        Place() = default;
        Place(Place&& other) noexcept
            : limit_(std::exchange(other.limit_, nullptr)), client_(std::move(other.client_)) {}
        Place& operator=(Place&&) = delete;
        ~Place();
        [[nodiscard]] bool valid() const { return limit_ != nullptr; }

      private:
        friend class StreamLimit;
        Place(StreamLimit& limit, std::string client)
            : limit_(&limit), client_(std::move(client)) {}
        StreamLimit* limit_ = nullptr;
        std::string client_;
    };
    // Not valid: there are too many, and refusal() is what to say.
    Place enter(const std::string& client);
    [[nodiscard]] grpc::Status refusal() const;

  private:
    const char* what_;
    const unsigned most_;
    const unsigned most_of_client_;
    std::mutex mutex_;  // below
    unsigned open_ = 0;
    std::map<std::string, unsigned> clients_;
};

// Ends calls whose answer the client does not take: one message, or the last word, that has not
// gone out in kPatience. A call of a connection on which nothing moves cannot be ended, since gRPC
// waits for what it is writing; then the connection is. A thread of its own; lives longer than the
// server.
class StallGuard {
  public:
    static constexpr std::chrono::seconds kPatience{15};

    explicit StallGuard(std::chrono::milliseconds patience = kPatience);
    StallGuard(const StallGuard&) = delete;
    StallGuard& operator=(const StallGuard&) = delete;
    ~StallGuard();

    // Watches every call of a server that is being built.
    void add_to(grpc::ServerBuilder& builder);
    // Where the server listens: the path of its Unix socket, or its TCP port.
    void serves(const std::string& path, int port);
    // From now on a client has a moment to take its last word. Idempotent.
    void stop();

  private:
    struct State;
    class Call;
    class Factory;
    std::shared_ptr<State> state_;
};

}  // namespace dr::control
