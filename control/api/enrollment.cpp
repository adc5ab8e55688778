// The operator's calls about the URs of subscribers: credentials, keys, attachments.
#include <fmt/format.h>

#include "control/api/crud.h"
#include "control/api/subscribers.h"
#include "control/telemetry/live_proto.h"

namespace dr::control {

namespace {

std::string hex(const std::string& bytes) {
    std::string text;
    for (const char c : bytes) text += fmt::format("{:02x}", static_cast<unsigned char>(c));
    return text;
}

// False: it has none and never had.
bool fill(const store::Secrets& secrets, const std::string& in_use,
          v1::SubscriberCredentials& out) {
    for (const auto& certificate : secrets.certificates()) {
        auto& to = *out.add_accepted();
        to.set_fingerprint(hex(certificate.fingerprint()));
        if (certificate.issued_us() != 0) fill_time(certificate.issued_us(), *to.mutable_issued());
        to.set_in_use(certificate.fingerprint() == in_use);
        to.set_replaces_older(certificate.replaces_older());
    }
    if (secrets.revoked_us() != 0) fill_time(secrets.revoked_us(), *out.mutable_revoked());
    return out.accepted_size() != 0 || out.has_revoked();
}

}  // namespace

grpc::Status SubscribersService::Enroll(grpc::ServerContext*, const v1::EnrollRequest* request,
                                        v1::Credentials* response) {
    return guarded([&] {
        std::uint32_t older = 0;
        const Failure why =
            credentials_.enroll(catalog_, request->name(), request->keep_older(), *response, older);
        if (!why.ok()) return to_status(why);
        journal_.tell(Journal::Level::Info,
                      {kEnrolled, request->name(), {}, {}, older, "credentials issued"});
        return grpc::Status::OK;
    });
}

void SubscribersService::tell_revoked(const std::string& name, std::uint32_t certificates) {
    journal_.tell(
        Journal::Level::Info,
        {kRevoked, name, {}, {}, certificates, fmt::format("{} credentials", certificates)});
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
        tell_revoked(request->name(), certificates);
        return grpc::Status::OK;
    });
}

grpc::Status SubscribersService::RevokeOlder(grpc::ServerContext*, const v1::GetRequest* request,
                                             v1::RevokeResponse* response) {
    return guarded([&] {
        std::uint32_t certificates = 0;
        const Failure why = Credentials::revoke_older(catalog_, request->name(), certificates);
        if (!why.ok()) return to_status(why);
        response->set_certificates(certificates);
        response->set_streams(hub_.look_again(request->name()));
        tell_revoked(request->name(), certificates);
        return grpc::Status::OK;
    });
}

grpc::Status SubscribersService::ListCredentials(grpc::ServerContext*,
                                                 const v1::ListCredentialsRequest* request,
                                                 v1::ListCredentialsResponse* response) {
    return guarded([&] {
        const auto add = [&](const v1::Subscriber& s) {
            v1::SubscriberCredentials found;
            found.set_subscriber(s.name());
            if (fill(catalog_.secrets_of(s.id()), hub_.fingerprint_in_use(s.name()), found))
                *response->add_credentials() = std::move(found);
        };
        if (!request->subscriber().empty()) {
            const auto object = catalog_.get(Kind::Subscriber, request->subscriber());
            if (!object) return not_found("subscriber", request->subscriber());
            add(std::get<v1::Subscriber>(*object));
            return grpc::Status::OK;
        }
        Catalog::Query query;
        if (auto status = page_limit(request->page_size(), query.limit); !status.ok())
            return status;
        query.token = request->page_token();
        query.name_prefix = request->name_prefix();
        const auto page = catalog_.list(Kind::Subscriber, query);
        for (const auto& object : page.objects) add(std::get<v1::Subscriber>(object));
        response->set_next_page_token(page.next);
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
