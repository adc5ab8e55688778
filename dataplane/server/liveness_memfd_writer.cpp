// Lays out the memfd of liveness rows and events, and writes them.
#include "dataplane/server/liveness_memfd_writer.h"

#include <cstring>

namespace dr::southbound {

std::unique_ptr<LivenessMemfd> LivenessMemfd::create(std::uint32_t tunnel_slots, unsigned threads,
                                                     const std::array<std::uint8_t, 16>& uuid,
                                                     std::string* error) {
    const std::uint64_t rows = round_up(sizeof(LivenessHeader), kPage);
    const std::uint64_t events =
        round_up(rows + std::uint64_t{tunnel_slots} * sizeof(LivenessRow), kPage);
    const std::uint64_t bytes =
        round_up(events + std::uint64_t{kLivenessEventSlots} * sizeof(LivenessEvent), kPage);
    std::unique_ptr<LivenessMemfd> self(new LivenessMemfd);
    // Pages are taken when they are first written.
    if (!self->memory_.make("dr-liveness", bytes, 0, error)) return nullptr;
    LivenessHeader& h = *self->header();
    h.magic = kLivenessMagic;
    h.version = kLivenessVersion;
    h.tunnel_slots = tunnel_slots;
    h.event_slots = kLivenessEventSlots;
    h.threads = threads;
    h.uuid = uuid;
    h.rows = rows;
    h.events = events;
    if (!self->memory_.seal(error)) return nullptr;
    return self;
}

void LivenessMemfd::write_row(std::uint32_t slot, const LivenessState& state) {
    if (slot >= tunnel_slots()) return;
    LivenessRow& row = at<LivenessRow>(header()->rows)[slot];
    std::array<std::uint64_t, sizeof(LivenessState) / 8> words;
    std::memcpy(words.data(), &state, sizeof state);
    // While a tunnel goes from one thread's subscriber to another's, both may be writing: the row
    // is whole again with the next word, and never odd for good.
    const std::uint32_t odd = row.sequence.load(std::memory_order_relaxed) | 1U;
    row.sequence.store(odd, std::memory_order_relaxed);
    // Release: a reader that sees a new word sees the odd number before it, too.
    for (std::size_t i = 0; i < words.size(); ++i)
        row.words[i].store(words[i], std::memory_order_release);
    row.sequence.store(odd + 1, std::memory_order_release);
}

LivenessState LivenessMemfd::read_row(std::uint32_t slot) const {
    LivenessState state{};
    if (slot >= tunnel_slots()) return state;
    const LivenessRow& row = at<LivenessRow>(header()->rows)[slot];
    std::array<std::uint64_t, sizeof(LivenessState) / 8> words;
    for (std::size_t i = 0; i < words.size(); ++i)
        words[i] = row.words[i].load(std::memory_order_relaxed);
    std::memcpy(&state, words.data(), sizeof state);
    return state;
}

void LivenessMemfd::add_event(const EventFields& fields) {
    LivenessHeader& h = *header();
    const std::uint64_t number = h.drawn.fetch_add(1, std::memory_order_relaxed) + 1;
    LivenessEvent& event = at<LivenessEvent>(h.events)[number % kLivenessEventSlots];
    event.sequence.store(0, std::memory_order_relaxed);
    std::atomic_thread_fence(std::memory_order_release);
    event.at_ns = fields.at_ns;
    event.outage_ns = fields.outage_ns;
    event.tunnel = fields.tunnel;
    event.subscriber = fields.subscriber;
    event.kind = fields.kind;
    event.from = fields.from;
    event.to = fields.to;
    event.cause = fields.cause;
    event.value = fields.value;
    event.endpoint = fields.endpoint;
    event.port = fields.port;
    event.family = fields.family;
    event.line = fields.line;
    event.suppressed = fields.suppressed;
    event.sequence.store(number, std::memory_order_release);
    std::uint64_t latest = h.latest.load(std::memory_order_relaxed);
    while (latest < number &&
           !h.latest.compare_exchange_weak(latest, number, std::memory_order_release,
                                           std::memory_order_relaxed)) {
    }
}

void LivenessMemfd::add_statistic(unsigned place, std::uint64_t by) {
    LivenessHeader& h = *header();
    if (place < h.statistics.size() && by != 0)
        h.statistics[place].fetch_add(by, std::memory_order_relaxed);
}

void LivenessMemfd::report(State* state) const {
    memory_.report("liveness", state);
}

}  // namespace dr::southbound
