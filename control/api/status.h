// The API's error model (proto/dr/v1/api.proto) in gRPC's terms, and helpers that the services
// share.
#pragma once

#include <grpcpp/grpcpp.h>

#include <condition_variable>
#include <mutex>

#include "control/model/catalog.h"
#include "control/model/failure.h"
#include "control/southbound/link.h"
#include "dr/v1/api.grpc.pb.h"

namespace dr::control {

// The code, the message, and a google.rpc.BadRequest with the violations in the details.
grpc::Status to_status(const Failure& failure);

grpc::Status invalid_argument(const std::string& field, const std::string& description);
grpc::Status not_found(const std::string& what, const std::string& name);

// Asked by streams, so that they end with the server.
class Stopping {
  public:
    void stop();
    // True: the server is ending.
    bool wait_for(std::chrono::milliseconds time);

  private:
    std::mutex mutex_;
    std::condition_variable changed_;
    bool stopped_ = false;
};

inline constexpr std::uint32_t kDefaultPage = 1000;
inline constexpr std::uint32_t kMaxPage = 10'000;

// `page_size` as a limit, or a status when it is out of range.
grpc::Status page_limit(std::uint32_t page_size, std::uint32_t& limit);

// Milliseconds between two messages of a watch: 0 means 1000, at least 100.
std::chrono::milliseconds watch_interval(std::uint32_t interval_ms);

}  // namespace dr::control
