// What an operator does with the URs of subscribers: credentials, keys, who is attached.
#include "control/api/crud.h"
#include "control/api/subscribers.h"

namespace dr::control {

grpc::Status SubscribersService::Enroll(grpc::ServerContext*, const v1::EnrollRequest* request,
                                        v1::Credentials* response) {
    return guarded([&] {
        const Failure why =
            credentials_.enroll(catalog_, request->name(), request->keep_older(), *response);
        if (!why.ok()) return to_status(why);
        hub_.look_again(request->name());
        return grpc::Status::OK;
    });
}

grpc::Status SubscribersService::Revoke(grpc::ServerContext*, const v1::GetRequest* request,
                                        v1::RevokeResponse* response) {
    return guarded([&] {
        // They may have ended before the commit has returned.
        response->set_streams(hub_.look_again(request->name()));
        std::uint32_t certificates = 0;
        const Failure why = Credentials::revoke(catalog_, request->name(), certificates);
        if (!why.ok()) return to_status(why);
        response->set_certificates(certificates);
        hub_.look_again(request->name());
        return grpc::Status::OK;
    });
}

grpc::Status SubscribersService::RotateKeys(grpc::ServerContext*, const v1::GetRequest* request,
                                            v1::Subscriber* response) {
    return guarded([&] {
        Result result = catalog_.rotate_keys(request->name());
        if (!result.failure.ok()) return to_status(result.failure);
        *response = std::get<v1::Subscriber>(*result.object);
        return grpc::Status::OK;
    });
}

grpc::Status SubscribersService::ListAttachments(grpc::ServerContext*,
                                                 const v1::ListAttachmentsRequest* request,
                                                 v1::ListAttachmentsResponse* response) {
    std::uint32_t limit = 0;
    if (auto status = page_limit(request->page_size(), limit); !status.ok()) return status;
    auto found = hub_.list(request->page_token(), request->name_prefix(), limit + 1U);
    if (found.size() > limit) {
        found.pop_back();
        response->set_next_page_token(found.back().subscriber());
    }
    for (auto& attachment : found) *response->add_attachments() = std::move(attachment);
    return grpc::Status::OK;
}

}  // namespace dr::control
