// The tables that drd maps from the data plane, counters, liveness and notes of drops, as
// written by one that is of another build, or broken.
//
// Input: a byte of choices and one of pages that the file has at least, then, by bit 1 of the
// choices: set, changes to a sound table, three bytes each (which 64-bit word, how many bits to the
// left, what to add there); not set, the file itself. Bit 0: the counters; else bit 2: the notes of
// drops; else liveness. What a table that is accepted says is read to the end: nothing is read
// beyond the table's pages, and what is found is what was asked for.
#include "control/telemetry/counters_map.h"
#include "control/telemetry/dropped_frame.h"
#include "control/telemetry/drops_map.h"
#include "control/telemetry/live_map.h"
#include "control/telemetry/memfd.h"
#include "dataplane/liveness/engine.h"
#include "tests/fuzz/fuzz.h"

using namespace dr;
using namespace dr::control;
using fuzz::require;

namespace {

namespace sb = southbound;

constexpr unsigned kCounters = 1;
constexpr unsigned kChanged = 2;
constexpr unsigned kDrops = 4;
constexpr std::uint64_t kPage = 4096, kMostPages = 16;
constexpr std::uint32_t kWorkers = 2, kSlots = 3, kEvents = 4;

using File = std::vector<std::uint8_t>;

template <typename T>
void put(File& file, std::uint64_t at, const T& value) {
    std::memcpy(file.data() + at, &value, sizeof value);
}

File sound_counters() {
    sb::CountersHeader h{};
    h.magic = sb::kCountersMagic;
    h.version = 1;
    h.workers = kWorkers;
    h.exits = h.ports = 1;
    h.tunnel_slots = kSlots;
    h.exit_names = sizeof h;
    h.port_names = h.exit_names + sizeof(sb::ExitName);
    h.worker_blocks = 4 * alignof(sb::WorkerBlock);
    h.worker_stride = sizeof(sb::WorkerBlock);
    h.tunnel_blocks = h.worker_blocks + kWorkers * h.worker_stride;
    h.tunnel_stride = kSlots * sizeof(sb::TunnelCounters);
    File file(h.tunnel_blocks + kWorkers * h.tunnel_stride, 'n');
    put(file, 0, h);
    return file;
}

// The second row is of tunnel 1; the oldest event is about to be overwritten.
File sound_liveness() {
    constexpr std::uint64_t kRows = 384;
    constexpr std::uint64_t kFirstEvent = kRows + kSlots * sizeof(sb::LivenessRow);
    static_assert(sizeof(sb::LivenessHeader) <= kRows);
    File file(kFirstEvent + kEvents * sizeof(sb::LivenessEvent));
    put(file, 0, sb::kLivenessMagic);
    put(file, 8, std::array{sb::kLivenessVersion, kSlots, kEvents, 1U});
    put(file, offsetof(sb::LivenessHeader, rows),
        std::array<std::uint64_t, 4>{kRows, kFirstEvent, kEvents, kEvents});
    sb::LivenessState state{};
    state.tunnel = 1;
    state.state = 3;
    put(file, kRows + sizeof(sb::LivenessRow) + 8, state);
    for (std::uint64_t n = 1; n <= kEvents; ++n)
        put(file, kFirstEvent + n % kEvents * sizeof(sb::LivenessEvent), n);
    return file;
}

// One sample of the first worker, and one drop of tunnel 1.
File sound_drops() {
    sb::DropsHeader h{};
    h.magic = sb::kDropsMagic;
    h.version = sb::kDropsVersion;
    h.workers = kWorkers;
    h.exits = 1;
    h.tunnel_slots = kSlots;
    h.samples = 128;
    h.sample_stride = sb::kDropSamples * sizeof(sb::DropSample);
    h.tunnels = h.samples + kWorkers * h.sample_stride;
    h.tunnel_stride = kSlots * sizeof(sb::TunnelDrops);
    h.tsc_hz = 1'000'000'000;
    File file(h.tunnels + kWorkers * h.tunnel_stride);
    std::memcpy(file.data(), &h, sizeof h);
    sb::DropState state{};
    state.head = sb::kDropHead;
    state.frame.fill(0x45);
    state.frame[12] = 8;
    state.frame[13] = 0;
    put(file, h.samples, std::uint64_t{2});
    put(file, h.samples + 8, state);
    put(file, h.tunnels + sizeof(sb::TunnelDrops),
        std::uint64_t{40} << sb::TunnelDrops::kExitShift | 1U);
    return file;
}

void change(File& file, fuzz::Input& input) {
    while (!input.empty()) {
        const std::size_t at = input.take<std::uint8_t>() * sizeof(std::uint64_t);
        const unsigned left = input.take<std::uint8_t>() % 64;
        const std::uint64_t more = input.take<std::uint8_t>();
        if (at + sizeof(std::uint64_t) > file.size()) continue;
        std::uint64_t word = 0;
        std::memcpy(&word, file.data() + at, sizeof word);
        put(file, at, word + (more << left));
    }
}

// That of the reply, which comes with the table.
std::array<std::uint8_t, 16> uuid_at(const File& file, std::size_t at) {
    std::array<std::uint8_t, 16> uuid{};
    if (file.size() >= at + uuid.size()) std::memcpy(uuid.data(), file.data() + at, uuid.size());
    return uuid;
}

void read_counters(const CountersMap& map) {
    const auto exits = map.exits();
    require(exits.size() <= sb::kExitSlots, "more exits than there may be");
    for (const auto& exit : exits)
        require(exit.name.size() <= 32 && exit.help.size() <= 96, "a name beyond its field");
    (void)map.all();
    for (std::uint32_t slot = 0; slot < 0x1000000; slot = slot * 2 + 1) (void)map.tunnel(slot);
}

void read_events(const LiveMap& map) {
    const std::uint64_t latest = map.latest();
    for (std::uint64_t back = 0; back < std::min<std::uint64_t>(map.event_slots() + 1, 64); ++back)
        for (const std::uint64_t number : {latest - back, back}) {
            LiveMap::Event event{};
            if (map.read_event(number, event) != LiveMap::Reading::Done) continue;
            require(event.number == number, "another event than asked for");
        }
}

void read_liveness(const LiveMap& map, std::uint64_t bytes) {
    const LiveCounts counts = map.count();
    std::uint64_t rows = 0;
    for (const auto n : counts.state) rows += n;
    require(rows * sizeof(sb::LivenessRow) <= bytes, "more rows than fit");
    require(counts.active <= rows && counts.suspect <= rows && counts.damped <= rows, "counts");
    for (std::uint32_t slot = 0; slot < 0x1000000; slot = slot * 2 + 1)
        for (const std::uint32_t generation : {0U, 1U}) {
            const std::uint32_t id = generation << 24 | slot;
            const auto state = map.tunnel(id);
            require(!state || (id != 0 && state->tunnel == id), "another tunnel than asked for");
        }
    require(map.statistics().size() == sizeof(liveness::Statistics) / 8, "statistics");
    read_events(map);
}

void read_drops(const DropsMap& map) {
    for (std::uint32_t exit = 0; exit < 300; ++exit) {
        const auto samples = map.samples(exit);
        require(samples.size() <= kMostPages * kPage / sizeof(sb::DropSample), "more than fit");
        for (const auto& sample : samples) {
            require(sample.packet.head <= sb::kDropHead, "more of a frame than there is");
            const auto frame = read_frame({sample.packet.frame.data(), sample.packet.head});
            require(!frame.inner || frame.key, "an inner packet without a tunnel");
        }
    }
    for (std::uint32_t slot = 0; slot < 0x1000000; slot = slot * 2 + 1)
        for (const auto& [exit, count] : map.tunnel(slot).by_exit)
            require(exit < 256, "more exits than a byte names");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz::Input input(data, size);
    const auto choices = input.take<std::uint8_t>();
    const std::uint64_t pages = input.take<std::uint8_t>() % kMostPages;
    const bool counters = (choices & kCounters) != 0;
    const bool drops = (choices & kDrops) != 0;
    File file(input.rest().begin(), input.rest().end());
    if ((choices & kChanged) != 0) {
        file = counters ? sound_counters() : drops ? sound_drops() : sound_liveness();
        change(file, input);
    }
    const std::uint64_t bytes = std::max((file.size() + kPage - 1) / kPage, pages) * kPage;
    FileDescriptor fd(fuzz::memory_file(file, bytes));
    try {
        if (counters) {
            const auto at = offsetof(sb::CountersHeader, uuid);
            read_counters(CountersMap(fd, bytes, uuid_at(file, at)));
        } else if (drops) {
            const auto at = offsetof(sb::DropsHeader, uuid);
            read_drops(DropsMap(fd, bytes, uuid_at(file, at)));
        } else {
            const auto at = offsetof(sb::LivenessHeader, uuid);
            read_liveness(LiveMap(std::move(fd), bytes, uuid_at(file, at)), bytes);
        }
    } catch (const MemfdError& e) {
        require(std::string_view(e.what()).starts_with("data plane: "), e.what());
    }
    return 0;
}
