// Serves the Apply stream: reads, groups, parks, applies and answers its items.
#include "control/api/resources.h"

#include <fmt/format.h>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <unordered_set>
#include <utility>

#include "control/api/crud.h"
#include "control/model/catalog_plan.h"

namespace dr::control {
namespace {

constexpr int kMaxItems = 1000;  // of one message
// Items and bytes of one commit. The records of a transaction take up to six times the bytes of
// their messages, and must fit the protocol's 16 MiB.
constexpr std::size_t kMaxGroup = 8192;
constexpr std::size_t kMaxGroupBytes = 2U << 20;
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

}  // namespace

// An item of the stream; `object` is missing when the caller sent none.
struct Item {
    std::uint64_t ordinal = 0;
    std::optional<Object> object;
    std::size_t bytes = 0;
};

// Passes items from the thread that reads the stream to the thread that applies. Items that arrive
// during a commit are committed together.
class Intake {
  public:
    // Blocks while many items wait.
    void put(std::vector<Item> items) {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [this] { return waiting_.size() < kMaxGroup || stopped_; });
        std::move(items.begin(), items.end(), std::back_inserter(waiting_));
        changed_.notify_all();
    }
    // No more items follow. `complete`: the caller has sent everything.
    void close(bool complete) {
        const std::lock_guard lock(mutex_);
        closed_ = true;
        complete_ = complete;
        changed_.notify_all();
    }
    // The taker has ended: put() does not block any more.
    void stop() {
        const std::lock_guard lock(mutex_);
        stopped_ = true;
        changed_.notify_all();
    }
    [[nodiscard]] bool complete() {
        const std::lock_guard lock(mutex_);
        return complete_;
    }
    [[nodiscard]] bool stopped() {
        const std::lock_guard lock(mutex_);
        return stopped_;
    }
    // The waiting items, as many as fit one commit; none after the last.
    std::vector<Item> take() {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [this] { return !waiting_.empty() || closed_; });
        std::vector<Item> group;
        std::size_t bytes = 0;
        while (!waiting_.empty() && group.size() < kMaxGroup && bytes < kMaxGroupBytes) {
            bytes += waiting_.front().bytes;
            group.push_back(std::move(waiting_.front()));
            waiting_.pop_front();
        }
        changed_.notify_all();
        return group;
    }

  private:
    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<Item> waiting_;
    bool closed_ = false;
    bool complete_ = false;
    bool stopped_ = false;
};

namespace {

// One stream: the results in order, and what is parked.
class Session {
  public:
    Session(Catalog& catalog, ResourcesService::Stream& stream, bool atomic)
        : catalog_(catalog), stream_(stream), atomic_(atomic) {}

    grpc::Status take(std::vector<Item> items) {
        std::vector<Placed> placed;
        placed.reserve(items.size());
        for (auto& item : items) {
            const std::size_t at = new_slot(item.ordinal);
            if (!item.object) {
                refuse(at, "resource", "missing; a pool, a policy or a subscriber");
                malformed_ = true;
                continue;
            }
            slot(at).result.set_resource(fmt::format("{}/{}", kind_name(kind_of(*item.object)),
                                                     shown(name_of_object(*item.object))));
            if (const Failure failure = check_counts(*item.object); !failure.ok()) {
                answer(at, {Result::Outcome::Refused, failure, {}});
                malformed_ = true;
                continue;
            }
            placed.push_back({at, {Request::Mode::Apply, *std::move(item.object)}});
        }
        if (!atomic_) {
            apply_or_park(std::move(placed));
            return flush();
        }
        std::move(placed.begin(), placed.end(), std::back_inserter(parked_));
        if (parked_.size() > kMaxAtomic)
            return {grpc::StatusCode::RESOURCE_EXHAUSTED,
                    fmt::format("an atomic set is limited to {} objects", kMaxAtomic)};
        return grpc::Status::OK;
    }

    grpc::Status finish() {
        if (atomic_) {
            apply_atomically();
            return flush();
        }
        for (std::size_t from = 0; from < parked_.size(); from += kMaxItems) {
            const auto begin = parked_.begin() + static_cast<std::ptrdiff_t>(from);
            const auto end = begin + static_cast<std::ptrdiff_t>(
                                         std::min<std::size_t>(kMaxItems, parked_.size() - from));
            apply({std::make_move_iterator(begin), std::make_move_iterator(end)}, false);
        }
        return flush();
    }

  private:
    struct Placed {
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
            std::visit([](const auto& object) { return object.revision(); }, *result.object));
        for (const auto& warning : result.warnings) {
            auto& told = *s.result.add_warnings();
            told.set_field(warning.field);
            told.set_description(warning.description);
        }
        if (kind_of(*result.object) != Kind::Subscriber) return;
        for (const auto& tunnel : subscriber_in(*result.object).tunnels()) {
            auto& applied = *s.result.add_tunnels();
            applied.set_line(tunnel.line());
            applied.set_id(tunnel.id());
        }
    }

    // Once an object waits for an object that it refers to, later ones of its name wait behind it:
    // the last line of a name wins.
    void apply_or_park(std::vector<Placed> items) {
        std::vector<Placed> together;
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

    void apply(std::vector<Placed> items, bool may_park) {
        if (items.empty()) return;
        std::vector<Request> requests;
        requests.reserve(items.size());
        for (auto& item : items) requests.push_back(std::move(item.request));
        const auto results = catalog_.apply(requests);
        for (std::size_t i = 0; i < items.size(); ++i) {
            if (may_park && results[i].failure.only_references && !results[i].failure.ok() &&
                parked_.size() < kMaxParked) {
                parked_names_.insert(slot(items[i].at).result.resource());
                parked_.push_back({items[i].at, std::move(requests[i])});
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
        // Objects that others refer to come first, in any order of the stream.
        std::stable_sort(parked_.begin(), parked_.end(), [](const Placed& a, const Placed& b) {
            return kind_of(a.request.object) < kind_of(b.request.object);
        });
        std::vector<Request> requests;
        requests.reserve(parked_.size());
        for (auto& item : parked_) requests.push_back(std::move(item.request));
        const auto results = catalog_.apply(requests, true);
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
    bool atomic_;
    bool malformed_ = false;
    std::deque<Slot> slots_;
    std::size_t flushed_ = 0;
    std::vector<Placed> parked_;
    std::unordered_set<std::string> parked_names_;  // "subscriber/site-1"
};

// What is wrong with a message as a whole.
grpc::Status check_message(const v1::ApplyRequest& message, bool first) {
    if (message.has_options() && !first)
        return invalid_argument("options", "only the first message of a stream has options");
    if (message.items_size() > kMaxItems)
        return invalid_argument("items", fmt::format("{} items; the limit is {} a message",
                                                     message.items_size(), kMaxItems));
    return grpc::Status::OK;
}

std::vector<Item> items_of(v1::ApplyRequest& message) {
    std::vector<Item> items;
    items.reserve(static_cast<std::size_t>(message.items_size()));
    for (auto& item : *message.mutable_items()) {
        const std::size_t bytes = item.ByteSizeLong();
        items.push_back({item.ordinal(), object_of(*item.mutable_resource()), bytes});
    }
    return items;
}

}  // namespace

grpc::Status ResourcesService::apply(Stream& stream, bool atomic, Intake& intake) {
    return guarded([&] {
        Session session(catalog_, stream, atomic);
        for (;;) {
            auto items = intake.take();
            if (items.empty()) return intake.complete() ? session.finish() : grpc::Status::OK;
            if (auto status = session.take(std::move(items)); !status.ok()) return status;
        }
    });
}

grpc::Status ResourcesService::Apply(grpc::ServerContext* context, Stream* stream) {
    const auto place = streams_.enter(caller_of(*context));
    if (!place.valid()) return streams_.refusal();
    v1::ApplyRequest message;
    if (!stream->Read(&message)) return grpc::Status::OK;
    const bool atomic = message.options().atomic();
    Intake intake;
    grpc::Status applied;
    std::thread applier([&] {
        applied = apply(*stream, atomic, intake);
        intake.stop();
    });
    grpc::Status status;
    for (bool first = true, more = true; more && status.ok() && !intake.stopped(); first = false) {
        status = check_message(message, first);
        if (status.ok()) intake.put(items_of(message));
        more = status.ok() && stream->Read(&message);
    }
    intake.close(status.ok() && !context->IsCancelled());
    applier.join();
    if (status.ok() && context->IsCancelled())
        return {grpc::StatusCode::CANCELLED, "the client is gone"};
    return status.ok() ? applied : status;
}

}  // namespace dr::control
