// Copies events from the liveness memfd and the journal into the event log.
#include "control/events/event_tail.h"

#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <cstring>
#include <optional>
#include <unordered_map>

#include "base/printable.h"
#include "control/events/event_text.h"
#include "control/telemetry/live_proto.h"
#include "dataplane/liveness/engine.h"

namespace dr::control {
namespace {

using namespace std::chrono_literals;

constexpr auto kPoll = 100ms;
constexpr auto kRetry = 2s;  // after the log could not be written
constexpr std::size_t kBatch = 8192;

// The clock of the data plane's events.
std::uint64_t steady_ns() {
    return static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
}

LoggedEvent log_event(const WallClock& clock, const char* kind, std::uint64_t value) {
    LoggedEvent event;
    event.at_us = clock.now_us();
    event.kind = kind;
    event.value = value;
    return event;
}

bool is_watchdogs(std::uint8_t kind) {
    return kind == southbound::kPortEvent || kind == southbound::kWorkerEvent ||
           kind == southbound::kRoutesEvent;
}

void fill_watchdog(const LiveMap::Event& from, LoggedEvent& to) {
    const bool stalled = from.to != 0;
    to.value = from.value;
    if (from.kind == southbound::kRoutesEvent) {
        to.kind = stalled ? kRoutesWaiting : kRoutesInstalled;
        to.cause = stalled ? fmt::format("{} routes of the kernel find no room", from.value)
                           : "all routes of the kernel have room";
        return;
    }
    const auto* name = reinterpret_cast<const char*>(from.endpoint.data());
    const std::string part(name, ::strnlen(name, from.endpoint.size()));
    if (from.kind == southbound::kWorkerEvent) {
        to.kind = stalled ? kWorkerStalled : kWorkerRecovered;
        to.cause = fmt::format("worker {}: {}", part, fault_text(from.cause));
    } else {
        to.kind = stalled ? kPortStalled : kPortRecovered;
        to.cause = fmt::format("port {}: {}", part, fault_text(from.cause));
    }
}

// Subscribers by id, each read once.
class Names {
  public:
    explicit Names(Catalog& catalog) : catalog_(catalog) {}
    void put(std::uint32_t subscriber, std::uint32_t tunnel_id, LoggedEvent& to) {
        const auto [found, is_new] = known_.try_emplace(subscriber);
        if (is_new) found->second = catalog_.subscriber_by_id(subscriber);
        if (!found->second) return;
        to.subscriber = found->second->name();
        if (tunnel_id == 0) return;
        for (const auto& tunnel : found->second->tunnels())
            if (tunnel.id() == tunnel_id) to.line = tunnel.line();
    }

  private:
    Catalog& catalog_;
    std::unordered_map<std::uint32_t, std::optional<v1::Subscriber>> known_;
};

}  // namespace

struct EventTail::Batch {
    std::vector<LiveMap::Event> events;
    std::uint64_t missed = 0;
    std::uint64_t last = 0;  // number up to which all is read or missed
    bool more = false;
};

EventTail::EventTail(Source source, Catalog& catalog, EventLog& log, Journal& journal,
                     TroublesSource troubles)
    : source_(std::move(source)),
      troubles_(std::move(troubles)),
      catalog_(catalog),
      log_(log),
      journal_(journal) {}

EventTail::~EventTail() {
    stop();
}

void EventTail::start() {
    thread_ = std::thread([this] { run(); });
}

void EventTail::stop() {
    {
        const std::lock_guard lock(mutex_);
        stop_ = true;
    }
    stopping_.notify_all();
    if (thread_.joinable()) thread_.join();
}

EventTail::Status EventTail::status() const {
    const std::lock_guard lock(mutex_);
    return status_;
}

void EventTail::run() {
    std::unique_lock lock(mutex_);
    while (!stop_) {
        const auto pause = status_.detail.empty() ? kPoll : std::chrono::milliseconds(kRetry);
        stopping_.wait_for(lock, pause, [this] { return stop_; });
        lock.unlock();
        poll();
        lock.lock();
    }
}

void EventTail::poll() {
    std::string failure;
    try {
        auto now = source_();
        watch_data_plane(now != nullptr);
        if (now != nullptr && now != map_) adopt(std::move(now));
        if (map_ != nullptr)
            while (drain(false)) {
            }
        tell_suppressed();
        tell_troubles();
        tell_journal();
    } catch (const StoreError& e) {
        failure = e.what();
    }
    const std::lock_guard lock(mutex_);
    if (!failure.empty() && failure != status_.detail)
        std::fprintf(stderr, "drd: events cannot be logged: %s\n", printable(failure).c_str());
    status_.detail = failure;
}

void EventTail::tell_troubles() {
    if (!troubles_) return;
    const auto found = troubles_();
    if (!found) return;
    const Troubles& now = *found;
    const WallClock clock;
    std::vector<LoggedEvent> events;
    const auto compare = [&](const std::string& before, const std::string& after, const char* kind,
                             const char* cleared) {
        if (before == after) return;
        events.push_back(log_event(clock, after.empty() ? cleared : kind, 0));
        events.back().cause = after.empty() ? before : after;
    };
    compare(told_.left_out, now.left_out, kLeftOut, kLeftOutCleared);
    compare(told_.around_own, now.around_own, kOwnInPrefix, kOwnInPrefixCleared);
    if (!events.empty()) log_.append(std::move(events), log_.position(), clock.now_us());
    told_ = now;
}

// Reads the rest of the previous map first: the last events of a data plane that has ended.
void EventTail::adopt(std::shared_ptr<const LiveMap> map) {
    if (map_ != nullptr && map_->incarnation() != map->incarnation())
        while (drain(true)) {
        }
    map_ = std::move(map);
    if (log_.position().incarnation == map_->incarnation()) return;
    const WallClock clock;
    log_.append({log_event(clock, kDataPlaneStarted, 0)}, {map_->incarnation(), 0}, clock.now_us());
}

EventTail::Batch EventTail::collect(std::uint64_t next, bool final) const {
    Batch batch;
    const std::uint64_t latest = map_->latest();
    const std::uint64_t slots = map_->event_slots();
    if (latest >= next + slots) {
        batch.missed = latest - slots + 1 - next;
        next += batch.missed;
    }
    for (; next <= latest && batch.events.size() < kBatch; ++next) {
        LiveMap::Event event;
        const auto reading = map_->read_event(next, event);
        if (reading == LiveMap::Reading::Pending && !final) break;
        if (reading == LiveMap::Reading::Done)
            batch.events.push_back(event);
        else
            ++batch.missed;
    }
    batch.last = next - 1;
    batch.more = batch.events.size() == kBatch;
    return batch;
}

std::vector<LoggedEvent> EventTail::name(const Batch& batch) {
    const WallClock clock;
    Names names(catalog_);
    std::vector<LoggedEvent> out;
    out.reserve(batch.events.size() + 1);
    if (batch.missed != 0) out.push_back(log_event(clock, kMissedEvents, batch.missed));
    for (const auto& from : batch.events) {
        if (!limiter_.take(from.subscriber, from.tunnel, from.at_ns)) continue;
        LoggedEvent& to = out.emplace_back();
        to.at_us = clock.at_us(from.at_ns);
        if (is_watchdogs(from.kind)) {
            fill_watchdog(from, to);
            continue;
        }
        to.tunnel = from.tunnel;
        to.kind = event_kind_text(from.kind);
        to.cause = cause_text(from.cause);
        to.outage_ns = from.outage_ns;
        to.endpoint = endpoint_text(from.family, from.endpoint, from.port);
        to.value = from.value;
        if (from.kind == static_cast<std::uint8_t>(liveness::EventKind::StateChanged)) {
            to.from = static_cast<std::uint8_t>(to_state(from.from));
            to.to = static_cast<std::uint8_t>(to_state(from.to));
        }
        names.put(from.subscriber, from.tunnel, to);
    }
    return out;
}

void EventTail::tell_suppressed() {
    const auto suppressed = limiter_.due(steady_ns());
    if (suppressed.empty()) return;
    const WallClock clock;
    Names names(catalog_);
    std::vector<LoggedEvent> out;
    for (const auto& s : suppressed) {
        LoggedEvent& event = out.emplace_back(log_event(clock, kSuppressedEvents, s.count));
        event.tunnel = s.tunnel;
        names.put(s.subscriber, s.tunnel, event);
    }
    log_.append(std::move(out), log_.position(), clock.now_us());
}

void EventTail::watch_data_plane(bool there) {
    if (map_ == nullptr || there != lost_) return;
    lost_ = !there;
    if (lost_)
        journal_.tell(Journal::Level::Warning, {kDataPlaneLost,
                                                {},
                                                "it does not answer",
                                                {},
                                                0,
                                                "changes are stored, and installed later"});
    else
        journal_.tell(Journal::Level::Info, {kDataPlaneBack, {}, {}, {}, 0, "it answers again"});
}

// Events that could not be written are tried again; their number is bounded as in the journal.
void EventTail::tell_journal() {
    std::unordered_map<std::string, std::size_t> waiting;
    for (const auto& event : unlogged_) ++waiting[event.kind];
    for (auto& event : journal_.take())
        if (waiting[event.kind]++ < Journal::kMostWaiting) unlogged_.push_back(std::move(event));
    if (unlogged_.empty()) return;
    log_.append(unlogged_, log_.position(), WallClock().now_us());
    unlogged_.clear();
}

// True: there may be more.
bool EventTail::drain(bool final) {
    const auto position = log_.position();
    const Batch batch = collect(position.number + 1, final);
    if (batch.events.empty() && batch.missed == 0) return false;
    log_.append(name(batch), {map_->incarnation(), batch.last}, WallClock().now_us());
    const std::lock_guard lock(mutex_);
    status_.missed += batch.missed;
    return batch.more && !stop_;
}

}  // namespace dr::control
