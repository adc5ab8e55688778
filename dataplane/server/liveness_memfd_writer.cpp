#include "dataplane/server/liveness_memfd_writer.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string_view>

namespace dr::southbound {
namespace {

constexpr std::uint64_t kPage = 4096;

constexpr std::uint64_t round_up(std::uint64_t value) {
    return (value + kPage - 1) / kPage * kPage;
}

std::string failure(const char* what) {
    return std::string("liveness: ") + what + ": " + std::strerror(errno);
}

}  // namespace

std::unique_ptr<LivenessMemfd> LivenessMemfd::create(std::uint32_t tunnel_slots, unsigned threads,
                                                     const std::array<std::uint8_t, 16>& uuid,
                                                     std::string* error) {
    const std::uint64_t rows = round_up(sizeof(LivenessHeader));
    const std::uint64_t events = round_up(rows + std::uint64_t{tunnel_slots} * sizeof(LivenessRow));
    const std::uint64_t bytes =
        round_up(events + std::uint64_t{kLivenessEventSlots} * sizeof(LivenessEvent));
    std::unique_ptr<LivenessMemfd> self(new LivenessMemfd);
    self->fd_ = memfd_create("dr-liveness", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (self->fd_ < 0 || ftruncate(self->fd_, static_cast<off_t>(bytes)) != 0) {
        *error = failure("making the memfd");
        return nullptr;
    }
    // Pages are taken with the first keepalive tunnel on them.
    void* base = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, self->fd_, 0);
    if (base == MAP_FAILED) {
        *error = failure("mapping the memfd");
        return nullptr;
    }
    self->base_ = base;
    self->bytes_ = bytes;
    LivenessHeader& h = *self->header();
    h.magic = kLivenessMagic;
    h.version = kLivenessVersion;
    h.tunnel_slots = tunnel_slots;
    h.event_slots = kLivenessEventSlots;
    h.threads = threads;
    h.uuid = uuid;
    h.rows = rows;
    h.events = events;
    // The existing writable mapping, this one, stays; no new one can be made, by anyone.
    if (fcntl(self->fd_, F_ADD_SEALS,
              F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL) != 0) {
        *error = failure("sealing the memfd");
        return nullptr;
    }
    return self;
}

LivenessMemfd::~LivenessMemfd() {
    if (base_ != nullptr) munmap(base_, bytes_);
    if (fd_ >= 0) close(fd_);
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
    struct stat file {};
    if (state->memories >= kMaxMemories || fstat(fd_, &file) != 0) return;
    Memory& memory = state->memory[state->memories++];
    memory = {};
    std::string_view("liveness").copy(memory.name.data(), memory.name.size() - 1);
    memory.bytes = static_cast<std::uint64_t>(file.st_blocks) * 512;
    memory.capacity_bytes = bytes_;
}

}  // namespace dr::southbound
