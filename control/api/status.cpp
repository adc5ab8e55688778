// Converts catalog failures into gRPC statuses.
#include "control/api/status.h"

#include <fmt/format.h>

#include <algorithm>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace dr::control {
namespace {

grpc::StatusCode to_code(Code code) {
    switch (code) {
        case Code::Ok:
            return grpc::StatusCode::OK;
        case Code::InvalidArgument:
            return grpc::StatusCode::INVALID_ARGUMENT;
        case Code::NotFound:
            return grpc::StatusCode::NOT_FOUND;
        case Code::AlreadyExists:
            return grpc::StatusCode::ALREADY_EXISTS;
        case Code::Aborted:
            return grpc::StatusCode::ABORTED;
        case Code::FailedPrecondition:
            return grpc::StatusCode::FAILED_PRECONDITION;
        case Code::ResourceExhausted:
            return grpc::StatusCode::RESOURCE_EXHAUSTED;
        case Code::Unavailable:
            return grpc::StatusCode::UNAVAILABLE;
        case Code::Internal:
            break;
    }
    return grpc::StatusCode::INTERNAL;
}

}  // namespace

grpc::Status to_status(const Failure& failure) {
    if (failure.ok()) return grpc::Status::OK;
    google::rpc::Status status;
    status.set_code(to_code(failure.code));
    status.set_message(failure.message);
    if (!failure.violations.empty()) {
        google::rpc::BadRequest bad;
        for (const auto& violation : failure.violations) {
            auto& out = *bad.add_field_violations();
            out.set_field(violation.field);
            out.set_description(violation.description);
        }
        status.add_details()->PackFrom(bad);
    }
    return {to_code(failure.code), failure.message, status.SerializeAsString()};
}

grpc::Status invalid_argument(const std::string& field, const std::string& description) {
    Findings findings;
    findings.invalid(field, description);
    return to_status(findings.failure());
}

grpc::Status not_found(const std::string& what, const std::string& name) {
    return {grpc::StatusCode::NOT_FOUND, fmt::format("{}/{} does not exist", what, shown(name))};
}

void Stopping::stop() {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
    changed_.notify_all();
}

bool Stopping::wait_for(std::chrono::milliseconds time) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, time, [this] { return stopped_; });
}

grpc::Status page_limit(std::uint32_t page_size, std::uint32_t& limit) {
    if (page_size > kMaxPage)
        return invalid_argument("page_size", fmt::format("{} is out of range; 1 to {}, or 0 for {}",
                                                         page_size, kMaxPage, kDefaultPage));
    limit = page_size == 0 ? kDefaultPage : page_size;
    return grpc::Status::OK;
}

std::chrono::milliseconds watch_interval(std::uint32_t interval_ms) {
    return std::chrono::milliseconds(interval_ms == 0 ? 1000U : std::max(100U, interval_ms));
}

}  // namespace dr::control
