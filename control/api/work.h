// The threads that run unary calls.
//
// gRPC's callback API neither waits for a call's message nor for its answer to leave on a thread of
// ours, so a client that withholds the message or does not take the answer holds no thread. The
// remaining work is the call itself: each connection has a queue, and the queues take turns.
#pragma once

#include <google/protobuf/descriptor.h>
#include <grpcpp/grpcpp.h>

#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "control/api/callers.h"

namespace dr::control {

class Work {
  public:
    static constexpr std::size_t kMostThreads = 96;
    // At a time, of a connection and of a client: work may wait for the data plane.
    static constexpr std::size_t kMostOfConnection = 16;
    static constexpr std::size_t kMostOfClient = 64;

    Work() = default;
    Work(const Work&) = delete;
    Work& operator=(const Work&) = delete;
    // Runs the remaining jobs first.
    ~Work();

    // Runs the job soon, on a thread of this object. Any thread; does not block.
    void add(const Caller& caller, std::function<void()> job);

  private:
    struct Queue {
        std::string client;
        std::deque<std::function<void()>> jobs;
        std::size_t running = 0;
    };
    using Queues = std::map<std::string, Queue>;
    void run();
    // The next connection whose turn it is; end: none has work that may begin.
    Queues::iterator next();

    std::mutex mutex_;  // all below
    std::condition_variable changed_;
    std::vector<std::thread> threads_;
    std::size_t idle_ = 0;
    bool ended_ = false;
    Queues queues_;     // by connection; gone when it has neither jobs nor a running one
    std::string turn_;  // the connection that was served last
    std::map<std::string, std::size_t> clients_;  // running, of each client
};

// A generated service whose methods of one message and one answer are carried out by a Work; the
// streaming ones stay gRPC's, on its threads. `Service`: for instance v1::Pools::Service.
template <typename Service, typename Contract>
class Worked : public Service {
  protected:
    explicit Worked(Work& work) : work_(work) {}

    // `name`: as in the .proto. The method gets no context.
    template <typename Own, typename Request, typename Response>
    void unary(const char* name,
               grpc::Status (Own::*method)(grpc::ServerContext*, const Request*, Response*)) {
        const auto* service = google::protobuf::DescriptorPool::generated_pool()->FindServiceByName(
            Contract::service_full_name());
        auto* own = static_cast<Own*>(this);
        this->MarkMethodCallback(
            service->FindMethodByName(name)->index(),
            new grpc::internal::CallbackUnaryHandler<Request, Response>(
                [this, own, method](grpc::CallbackServerContext* context, const Request* request,
                                    Response* response) {
                    auto* reactor = context->DefaultReactor();
                    work_.add(caller_of(*context), [=] {
                        reactor->Finish(answer(
                            [&] { return (own->*method)(nullptr, request, response); }, *context));
                    });
                    return reactor;
                }));
    }

  private:
    template <typename Handler>
    static grpc::Status answer(const Handler& handler, const grpc::CallbackServerContext& context) {
        if (context.IsCancelled()) return {grpc::StatusCode::CANCELLED, "the client is gone"};
        try {
            return handler();
        } catch (const std::exception& e) {
            return {grpc::StatusCode::INTERNAL, e.what()};
        }
    }
    Work& work_;
};

}  // namespace dr::control
