#include "control/api/resources.h"

#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <numeric>
#include <unordered_set>
#include <utility>

#include "control/api/crud.h"
#include "control/model/catalog_plan.h"

namespace dr::control {
namespace {

constexpr int kMaxItems = 1000;  // of one message
constexpr std::size_t kMaxParked = 1U << 20;
constexpr std::size_t kMaxAtomic = southbound::kMaxTxnRecords;

std::optional<Object> object_of(v1::Resource& resource) {
    switch (resource.kind_case()) {
        case v1::Resource::kPool:
            return std::move(*resource.mutable_pool());
        case v1::Resource::kPolicy:
            return std::move(*resource.mutable_policy());
        case v1::Resource::kSubscriber:
            return std::move(*resource.mutable_subscriber());
        case v1::Resource::KIND_NOT_SET:
            break;
    }
    return std::nullopt;
}

const char* word(Kind kind) {
    if (kind == Kind::Pool) return "pool";
    return kind == Kind::Policy ? "policy" : "subscriber";
}

v1::ApplyResult::Outcome to_outcome(Result::Outcome outcome) {
    switch (outcome) {
        case Result::Outcome::Created:
            return v1::ApplyResult::CREATED;
        case Result::Outcome::Updated:
            return v1::ApplyResult::UPDATED;
        case Result::Outcome::Unchanged:
            return v1::ApplyResult::UNCHANGED;
        default:
            return v1::ApplyResult::REFUSED;
    }
}

// One stream: the results in order, and what is parked.
class Session {
  public:
    Session(Catalog& catalog, ResourcesService::Stream& stream)
        : catalog_(catalog), stream_(stream) {}

    grpc::Status take(v1::ApplyRequest& message, bool first) {
        if (message.has_options() && !first)
            return invalid_argument("options", "only the first message of a stream has options");
        if (first) atomic_ = message.options().atomic();
        if (message.items_size() > kMaxItems)
            return invalid_argument("items", fmt::format("{} items; the limit is {} a message",
                                                         message.items_size(), kMaxItems));
        std::vector<Item> items;
        for (auto& item : *message.mutable_items()) {
            const std::size_t at = new_slot(item.ordinal());
            auto object = object_of(*item.mutable_resource());
            if (!object) {
                refuse(at, "resource", "missing; a pool, a policy or a subscriber");
                malformed_ = true;
                continue;
            }
            slot(at).result.set_resource(
                fmt::format("{}/{}", word(kind_of(*object)), name_of_object(*object)));
            items.push_back({at, {Request::Mode::Apply, std::move(*object)}});
        }
        if (atomic_) {
            std::move(items.begin(), items.end(), std::back_inserter(parked_));
            if (parked_.size() > kMaxAtomic)
                return {grpc::StatusCode::RESOURCE_EXHAUSTED,
                        fmt::format("an atomic set is limited to {} objects", kMaxAtomic)};
            return grpc::Status::OK;
        }
        apply_or_park(std::move(items));
        return flush();
    }

    grpc::Status finish() {
        if (atomic_)
            apply_atomically();
        else
            for (std::size_t from = 0; from < parked_.size(); from += kMaxItems) {
                const auto begin = parked_.begin() + static_cast<std::ptrdiff_t>(from);
                const auto end = begin + static_cast<std::ptrdiff_t>(std::min<std::size_t>(
                                             kMaxItems, parked_.size() - from));
                apply({std::make_move_iterator(begin), std::make_move_iterator(end)}, false);
            }
        return flush();
    }

  private:
    struct Item {
        std::size_t at;
        Request request;
    };
    struct Slot {
        v1::ApplyResult result;
        bool done = false;
    };

    std::size_t new_slot(std::uint64_t ordinal) {
        slots_.emplace_back().result.set_ordinal(ordinal);
        return flushed_ + slots_.size() - 1;
    }
    Slot& slot(std::size_t at) { return slots_[at - flushed_]; }

    void refuse(std::size_t at, const std::string& field, const std::string& why) {
        Slot& s = slot(at);
        s.done = true;
        s.result.set_outcome(v1::ApplyResult::REFUSED);
        auto& violation = *s.result.add_violations();
        violation.set_field(field);
        violation.set_description(why);
    }

    void answer(std::size_t at, const Result& result) {
        if (!result.failure.ok()) {
            const std::string& resource = slot(at).result.resource();
            for (const auto& v : result.failure.violations) refuse(at, v.field, v.description);
            if (result.failure.violations.empty())
                refuse(at, resource.substr(0, resource.find('/')), result.failure.message);
            return;
        }
        Slot& s = slot(at);
        s.done = true;
        s.result.set_outcome(to_outcome(result.outcome));
        s.result.set_revision(
            std::visit([](const auto& object) { return object.revision(); }, result.object));
    }

    // Once an object waits for what it refers to, later ones of its name wait behind it: the last
    // line of a name is what stays.
    void apply_or_park(std::vector<Item> items) {
        std::vector<Item> together;
        std::unordered_set<std::string> names;
        const auto apply_these = [&] {
            apply(std::exchange(together, {}), true);
            names.clear();
        };
        for (auto& item : items) {
            const std::string name = slot(item.at).result.resource();
            if (names.contains(name)) apply_these();
            if (!parked_names_.contains(name)) {
                names.insert(name);
                together.push_back(std::move(item));
            } else if (parked_.size() < kMaxParked) {
                parked_.push_back(std::move(item));
            } else {
                refuse(item.at, name.substr(0, name.find('/')),
                       fmt::format("waits behind an earlier {} of this stream, and more than {} "
                                   "objects wait; put policies first",
                                   name, kMaxParked));
            }
        }
        apply_these();
    }

    void apply(std::vector<Item> items, bool may_park) {
        if (items.empty()) return;
        std::vector<Request> requests;
        requests.reserve(items.size());
        // A copy only where it may be needed again.
        for (const auto& item : items) requests.push_back(item.request);
        const auto results = catalog_.apply(std::move(requests));
        for (std::size_t i = 0; i < items.size(); ++i) {
            if (may_park && results[i].failure.only_references && !results[i].failure.ok() &&
                parked_.size() < kMaxParked) {
                parked_names_.insert(slot(items[i].at).result.resource());
                parked_.push_back(std::move(items[i]));
            } else {
                answer(items[i].at, results[i]);
            }
        }
    }

    void apply_atomically() {
        if (malformed_) {
            for (const auto& item : parked_)
                refuse(item.at, "resource", "another object of the atomic set is refused");
            return;
        }
        // What is referred to comes first, whatever the order in the stream.
        std::stable_sort(parked_.begin(), parked_.end(), [](const Item& a, const Item& b) {
            return kind_of(a.request.object) < kind_of(b.request.object);
        });
        std::vector<Request> requests;
        requests.reserve(parked_.size());
        for (auto& item : parked_) requests.push_back(std::move(item.request));
        const auto results = catalog_.apply(std::move(requests), true);
        for (std::size_t i = 0; i < parked_.size(); ++i) answer(parked_[i].at, results[i]);
    }

    grpc::Status flush() {
        v1::ApplyResponse response;
        const auto write = [&] {
            if (response.results().empty()) return true;
            const bool open = stream_.Write(response);
            response.clear_results();
            return open;
        };
        bool open = true;
        while (open && !slots_.empty() && slots_.front().done) {
            *response.add_results() = std::move(slots_.front().result);
            slots_.pop_front();
            ++flushed_;
            if (response.results_size() >= kMaxItems) open = write();
        }
        if (!open || !write()) return {grpc::StatusCode::CANCELLED, "the client is gone"};
        return grpc::Status::OK;
    }

    Catalog& catalog_;
    ResourcesService::Stream& stream_;
    bool atomic_ = false;
    bool malformed_ = false;
    std::deque<Slot> slots_;
    std::size_t flushed_ = 0;
    std::vector<Item> parked_;
    std::unordered_set<std::string> parked_names_;  // "subscriber/site-1"
};

}  // namespace

grpc::Status ResourcesService::Apply(grpc::ServerContext* context, Stream* stream) {
    return guarded([&] {
        Session session(catalog_, *stream);
        v1::ApplyRequest message;
        for (bool first = true; stream->Read(&message); first = false)
            if (auto status = session.take(message, first); !status.ok()) return status;
        if (context->IsCancelled())
            return grpc::Status(grpc::StatusCode::CANCELLED, "the client is gone");
        return session.finish();
    });
}

}  // namespace dr::control
