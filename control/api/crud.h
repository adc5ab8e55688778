// Create, get, list, update and delete are the same for each kind of object.
#pragma once

#include <stdexcept>
#include <string>

#include "control/api/status.h"
#include "control/model/counts.h"

namespace dr::control {

template <typename T>
constexpr Kind kind_for() {
    if constexpr (std::is_same_v<T, v1::Pool>) return Kind::Pool;
    if constexpr (std::is_same_v<T, v1::Policy>) return Kind::Policy;
    return Kind::Subscriber;
}

template <typename T>
grpc::Status change(Catalog& catalog, Request::Mode mode, const T& object, T* response) {
    if (const Failure failure = check_counts(object); !failure.ok()) return to_status(failure);
    const Result result = catalog.apply_one({mode, object});
    if (!result.failure.ok()) return to_status(result.failure);
    if (response != nullptr) *response = std::get<T>(*result.object);
    return grpc::Status::OK;
}

inline grpc::Status nameless() {
    return invalid_argument("name", "is empty; it must be the name of an object");
}

template <typename T>
grpc::Status remove(Catalog& catalog, const v1::DeleteRequest& request) {
    if (request.name().empty()) return nameless();
    T object;
    object.set_name(request.name());
    object.set_revision(request.revision());
    return change<T>(catalog, Request::Mode::Delete, object, nullptr);
}

template <typename T>
grpc::Status get(Catalog& catalog, const std::string& what, const std::string& name, T* response) {
    if (name.empty()) return nameless();
    auto object = catalog.get(kind_for<T>(), name);
    if (!object) return not_found(what, name);
    *response = std::get<T>(std::move(*object));
    return grpc::Status::OK;
}

// `add` is the response's add_…() for one object.
template <typename T, typename ListRequest, typename Add>
grpc::Status list(Catalog& catalog, const ListRequest& request, Catalog::Query query,
                  std::string* next_page_token, const Add& add) {
    if (auto status = page_limit(request.page_size(), query.limit); !status.ok()) return status;
    query.token = request.page_token();
    query.name_prefix = request.name_prefix();
    Catalog::Page page = catalog.list(kind_for<T>(), query);
    for (auto& object : page.objects) *add() = std::get<T>(std::move(object));
    *next_page_token = std::move(page.next);
    return grpc::Status::OK;
}

// Runs a handler. A StoreError becomes UNAVAILABLE, a bad page token INVALID_ARGUMENT.
template <typename Handler>
grpc::Status guarded(const Handler& handler) {
    try {
        return handler();
    } catch (const StoreError& e) {
        return {grpc::StatusCode::UNAVAILABLE, e.what()};
    } catch (const std::invalid_argument&) {
        return invalid_argument("page_token", "is not one that this List has returned");
    }
}

}  // namespace dr::control
