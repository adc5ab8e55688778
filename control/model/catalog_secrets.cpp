// A subscriber's secrets in the catalog: its tunnels' keys and its certificates.
#include <fmt/format.h>

#include "control/model/catalog_plan.h"

namespace dr::control {

store::Secrets Catalog::secrets_of(std::uint32_t subscriber_id) {
    store::Secrets secrets;
    const auto bytes = store_.read_secrets(subscriber_id);
    if (bytes && !secrets.ParseFromString(*bytes))
        throw StoreError(
            fmt::format("store: the secrets of subscriber {} cannot be read", subscriber_id));
    return secrets;
}

std::optional<store::Secrets> Catalog::secrets(const std::string& subscriber) {
    std::shared_lock lock(index_mutex_);
    const auto* found = Index::find(index_.subscribers(), subscriber);
    const std::uint32_t id = found == nullptr ? 0 : found->id;
    lock.unlock();
    if (id == 0) return std::nullopt;
    return secrets_of(id);
}

std::optional<Catalog::Site> Catalog::site(const std::string& subscriber) {
    constexpr int kTries = 100;
    for (int i = 0; i < kTries; ++i) {
        auto object = get(Kind::Subscriber, subscriber);
        if (!object) return std::nullopt;
        Site site;
        site.subscriber = std::get<v1::Subscriber>(std::move(*object));
        auto policy = get(Kind::Policy, site.subscriber.policy());
        site.secrets = secrets_of(site.subscriber.id());
        // The revision shows a commit between the reads; then both are read again.
        const auto again = get(Kind::Subscriber, subscriber);
        if (!again) return std::nullopt;
        if (!policy || std::get<v1::Subscriber>(*again).revision() != site.subscriber.revision())
            continue;
        site.policy = std::get<v1::Policy>(std::move(*policy));
        return site;
    }
    throw StoreError(fmt::format(
        "store: subscriber \"{}\" changes faster than it can be read, or lacks its policy",
        subscriber));
}

Result Catalog::change_keys(const std::string& subscriber, Request::Keys keys) {
    const auto object = get(Kind::Subscriber, subscriber);
    if (!object)
        return {Result::Outcome::Refused,
                {Code::NotFound,
                 fmt::format("subscriber/{} does not exist", shown(subscriber)),
                 {},
                 false},
                {}};
    // The revision ties the request to exactly this object.
    return apply_one({Request::Mode::Update, *object, keys});
}

Result Catalog::rotate_keys(const std::string& subscriber) {
    return change_keys(subscriber, Request::Keys::Rotate);
}

// A revocation must not fail because the subscriber was changed meanwhile.
Result Catalog::revoke(const std::string& subscriber) {
    constexpr int kTries = 100;
    Result result;
    for (int i = 0; i < kTries; ++i) {
        result = change_keys(subscriber, Request::Keys::Revoke);
        if (result.failure.code != Code::Aborted) break;
    }
    return result;
}

Failure Catalog::change_credentials(const std::string& subscriber,
                                    const std::function<void(store::Secrets&)>& change) {
    const std::lock_guard writing(writer_);
    std::uint32_t id = 0;
    {
        const std::shared_lock lock(index_mutex_);
        const auto* entry = Index::find(index_.subscribers(), subscriber);
        if (entry == nullptr)
            return {Code::NotFound,
                    fmt::format("subscriber/{} does not exist", shown(subscriber)),
                    {},
                    false};
        id = entry->id;
    }
    try {
        store::Secrets secrets = secrets_of(id);
        change(secrets);
        Batch batch;
        batch.meta = meta_;
        batch.secrets.push_back({id, secrets.SerializeAsString()});
        store_.commit(batch);
    } catch (const StoreError& e) {
        return {Code::Unavailable, e.what(), {}, false};
    }
    return {};
}

}  // namespace dr::control
