// Maps the liveness memfd; reads rows, events and sums.
#include "control/telemetry/live_map.h"

#include <fmt/format.h>
#include <sched.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>

#include "control/telemetry/counters_map.h"
#include "control/telemetry/memfd.h"
#include "dataplane/liveness/engine.h"

namespace dr::control {
namespace {

namespace sb = southbound;

// Writing a row takes well under a microsecond; but the writer may be descheduled meanwhile, or
// dead.
constexpr int kTriesBeforeYielding = 16;
constexpr int kTries = 200;

using Statistics = liveness::Statistics;
struct StatisticName {
    std::size_t place;
    const char* name;
};
#define PLACE(member)                                                 \
    StatisticName {                                                   \
        offsetof(Statistics, member) / sizeof(std::uint64_t), #member \
    }
constexpr std::array kStatistics{PLACE(sent),
                                 PLACE(received),
                                 PLACE(malformed),
                                 PLACE(unknown_key),
                                 PLACE(bad_tag),
                                 PLACE(replayed),
                                 PLACE(unknown_salt),
                                 PLACE(other_source),
                                 PLACE(challenges_sent),
                                 PLACE(challenges_limited),
                                 PLACE(answers_refused),
                                 PLACE(adopted_salts),
                                 PLACE(adopted_endpoints),
                                 PLACE(ups),
                                 PLACE(downs),
                                 PLACE(false_downs)};
#undef PLACE
static_assert(kStatistics.size() * sizeof(std::uint64_t) == sizeof(Statistics),
              "each statistic has a name");

std::uint64_t word_at(const void* at) {
    return __atomic_load_n(static_cast<const std::uint64_t*>(at), __ATOMIC_RELAXED);
}

void count_row(const sb::LivenessState& row, LiveCounts& counts) {
    const auto is = [&](unsigned flag) { return (row.flags & flag) != 0 ? 1U : 0U; };
    ++counts.state[row.state & 3U];
    if (row.state == static_cast<std::uint8_t>(liveness::State::Up)) {
        counts.suspect += is(sb::LivenessState::kSuspectRx | sb::LivenessState::kSuspectTx);
        counts.degraded += is(sb::LivenessState::kDegraded);
        counts.damped += is(sb::LivenessState::kDamped);
    }
    counts.active += is(sb::LivenessState::kActive);
}

}  // namespace

LiveMap::LiveMap(FileDescriptor fd, std::uint64_t bytes, const std::array<std::uint8_t, 16>& uuid)
    : fd_(std::move(fd)), size_(bytes), incarnation_(uuid_text(uuid)) {
    base_ = map_memfd(fd_, bytes, sizeof(sb::LivenessHeader), "liveness rows");
    try {
        check(uuid);
    } catch (...) {
        ::munmap(const_cast<std::uint8_t*>(base_), size_);
        throw;
    }
}

LiveMap::~LiveMap() {
    ::munmap(const_cast<std::uint8_t*>(base_), size_);
}

const sb::LivenessHeader& LiveMap::header() const {
    return *reinterpret_cast<const sb::LivenessHeader*>(base_);
}

void LiveMap::check(const std::array<std::uint8_t, 16>& uuid) {
    const auto fits = [&](std::uint64_t offset, std::uint64_t stride, std::uint64_t count) {
        return offset % 32 == 0 && offset <= size_ && stride * count <= size_ - offset;
    };
    const sb::LivenessHeader& h = header();
    if (h.magic != sb::kLivenessMagic || h.version != sb::kLivenessVersion)
        throw MemfdError(
            "data plane: a liveness table of an unknown layout; use programs of one build");
    rows_ = h.rows;
    events_ = h.events;
    tunnel_slots_ = h.tunnel_slots;
    event_slots_ = h.event_slots;
    if (h.uuid != uuid || event_slots_ == 0 ||
        !fits(rows_, sizeof(sb::LivenessRow), tunnel_slots_) ||
        !fits(events_, sizeof(sb::LivenessEvent), event_slots_))
        throw MemfdError("data plane: its liveness table contradicts itself");
}

bool LiveMap::read_row(std::uint32_t slot, sb::LivenessState& state) const {
    const auto& row = reinterpret_cast<const sb::LivenessRow*>(base_ + rows_)[slot];
    std::array<std::uint64_t, sizeof state / sizeof(std::uint64_t)> words;
    for (int i = 0; i < kTries; ++i) {
        if (i >= kTriesBeforeYielding) ::sched_yield();
        const std::uint32_t before = row.sequence.load(std::memory_order_acquire);
        if (before % 2 != 0) continue;
        for (std::size_t w = 0; w < words.size(); ++w)
            words[w] = row.words[w].load(std::memory_order_acquire);
        if (row.sequence.load(std::memory_order_relaxed) != before) continue;
        std::memcpy(&state, words.data(), sizeof state);
        return true;
    }
    return false;
}

std::optional<sb::LivenessState> LiveMap::tunnel(std::uint32_t id) const {
    const std::uint32_t slot = id & 0xffffff;
    sb::LivenessState state;
    if (id == 0 || slot >= tunnel_slots_ || !read_row(slot, state) || state.tunnel != id)
        return std::nullopt;
    return state;
}

LiveCounts LiveMap::count() const {
    LiveCounts counts;
    each([&counts](const sb::LivenessState& row) { count_row(row, counts); });
    return counts;
}

// Reads only the written parts, which SEEK_DATA finds; the others have no memory.
void LiveMap::each(const std::function<void(const sb::LivenessState&)>& visit) const {
    const std::uint64_t end = rows_ + std::uint64_t{tunnel_slots_} * sizeof(sb::LivenessRow);
    std::uint64_t at = rows_;
    while (at < end) {
        const off_t data = ::lseek(fd_.get(), static_cast<off_t>(at), SEEK_DATA);
        if (data < 0) break;
        const off_t hole = ::lseek(fd_.get(), data, SEEK_HOLE);
        const std::uint64_t from = std::max(at, static_cast<std::uint64_t>(data));
        const std::uint64_t to = hole < 0 ? end : std::min(end, static_cast<std::uint64_t>(hole));
        if (from >= end) break;
        std::uint64_t slot = (from - rows_) / sizeof(sb::LivenessRow);
        for (; slot < tunnel_slots_ && rows_ + slot * sizeof(sb::LivenessRow) < to; ++slot) {
            sb::LivenessState row;
            if (read_row(static_cast<std::uint32_t>(slot), row) && row.tunnel != 0) visit(row);
        }
        at = std::max(to, rows_ + slot * sizeof(sb::LivenessRow));
    }
}

std::vector<std::pair<std::string, std::uint64_t>> LiveMap::statistics() const {
    std::vector<std::pair<std::string, std::uint64_t>> out;
    out.reserve(kStatistics.size());
    for (const auto& one : kStatistics)
        out.emplace_back(one.name, header().statistics[one.place].load(std::memory_order_relaxed));
    return out;
}

std::uint64_t LiveMap::latest() const {
    return header().latest.load(std::memory_order_acquire);
}

LiveMap::Reading LiveMap::read_event(std::uint64_t number, Event& event) const {
    const auto* slot =
        reinterpret_cast<const sb::LivenessEvent*>(base_ + events_) + number % event_slots_;
    const std::uint64_t before = slot->sequence.load(std::memory_order_acquire);
    if (before > number) return Reading::Gone;
    if (before != number)
        return latest() >= number + event_slots_ ? Reading::Gone : Reading::Pending;
    std::array<std::uint64_t, sizeof event / sizeof(std::uint64_t)> words;
    const auto* from = reinterpret_cast<const std::uint8_t*>(slot);
    for (std::size_t w = 0; w < words.size(); ++w) words[w] = word_at(from + w * sizeof words[0]);
    std::atomic_thread_fence(std::memory_order_acquire);
    if (slot->sequence.load(std::memory_order_relaxed) != number) return Reading::Gone;
    std::memcpy(&event, words.data(), sizeof event);
    return Reading::Done;
}

WallClock::WallClock() {
    timespec monotonic{};
    timespec wall{};
    ::clock_gettime(CLOCK_MONOTONIC, &monotonic);
    ::clock_gettime(CLOCK_REALTIME, &wall);
    monotonic_ns_ = static_cast<std::uint64_t>(monotonic.tv_sec) * 1'000'000'000U +
                    static_cast<std::uint64_t>(monotonic.tv_nsec);
    wall_us_ = wall.tv_sec * 1'000'000 + wall.tv_nsec / 1'000;
}

std::int64_t WallClock::at_us(std::uint64_t monotonic_ns) const {
    const auto ago = static_cast<std::int64_t>(monotonic_ns_ - monotonic_ns);
    return wall_us_ - ago / 1'000;
}

}  // namespace dr::control
