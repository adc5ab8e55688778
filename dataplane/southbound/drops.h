// Layout of the drops memfd: the latest packets that were dropped for each reason, and how many of
// each tunnel. Written by the data plane, mapped read-only by others; sized at start and sealed
// like the counters memfd (counters.h), one for each start of the data plane.
//
//   DropsHeader
//   for each worker w, at samples + w * sample_stride:
//       DropSample[exits][kDropSamples]      by Exit
//   for each worker w, at tunnels + w * tunnel_stride:
//       TunnelDrops[tunnel_slots]            by tunnel slot (low 24 bits of the GRE key)
//
// Samples: number n (from 0) of a worker and exit is in place n % kDropSamples; its `sequence` is
// 2n + 2 when it is whole, and odd while it is written. A reader copies a sample, and takes it only
// when the sequence is even, not 0, and the same before and after. A worker takes at most one of an
// exit in a millisecond and in a turn of its loop.
//
// Times are of the TSC; the header pairs one with CLOCK_MONOTONIC, again and again. Numbers are in
// host order, the frame is as it was on the wire.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>

namespace dr::southbound {

inline constexpr std::uint64_t kDropsMagic = 0x3173706f72646400ULL;
inline constexpr std::uint32_t kDropsVersion = 1;
inline constexpr std::uint32_t kDropSamples = 16;
// Enough for Ethernet, IPv6, UDP, GRE with key, and an inner IPv6 header with its ports.
inline constexpr std::size_t kDropHead = 128;

struct DropsHeader {
    std::uint64_t magic;
    std::uint32_t version;
    std::uint32_t workers;
    std::uint32_t exits;
    std::uint32_t tunnel_slots;
    std::array<std::uint8_t, 16> uuid;  // of the incarnation, as in State
    std::uint64_t samples;              // offsets from the start of the memfd, bytes
    std::uint64_t sample_stride;
    std::uint64_t tunnels;
    std::uint64_t tunnel_stride;
    std::uint64_t tsc_hz;  // cycles a second
    // Both of one moment; `clock` is odd while they are written. Writer thread.
    std::atomic<std::uint64_t> clock;
    std::atomic<std::uint64_t> clock_tsc;
    std::atomic<std::uint64_t> clock_ns;
};
static_assert(sizeof(DropsHeader) == 104);

// A copy of a sample.
struct DropState {
    std::uint64_t tsc;
    // GRE keys of the tunnel that the packet belongs to by its own key, and of the one that it was
    // to go into; 0: none.
    std::uint32_t from;
    std::uint32_t into;
    std::uint16_t length;  // of the frame, bytes; 0xffff: at least that
    std::uint8_t port;     // number of the port that received it, or that it was to leave by
    std::uint8_t flags;
    std::uint8_t head;  // how many bytes of `frame` count
    std::array<std::uint8_t, 3> reserved;
    std::array<std::uint8_t, kDropHead> frame;  // its first bytes, from the Ethernet header on

    static constexpr std::uint8_t kLeaving = 1;  // as it was to be sent by `port`
};
static_assert(sizeof(DropState) == 152);

struct alignas(32) DropSample {
    std::atomic<std::uint64_t> sequence;
    std::array<std::atomic<std::uint64_t>, sizeof(DropState) / 8> words;
};
static_assert(sizeof(DropSample) == 160);

// By the sample's worker; `number` counts up from 0.
inline void write_sample(DropSample& sample, std::uint64_t number, const DropState& state) {
    std::array<std::uint64_t, sizeof state / 8> words;
    std::memcpy(words.data(), &state, sizeof state);
    sample.sequence.store(2 * number + 1, std::memory_order_relaxed);
    // Release: a reader that sees a new word sees the odd number before it, too.
    for (std::size_t i = 0; i < words.size(); ++i)
        sample.words[i].store(words[i], std::memory_order_release);
    sample.sequence.store(2 * number + 2, std::memory_order_release);
}

// Any thread. false: there is none, or it is written to without end. `head` is as it was written.
inline bool read_sample(const DropSample& sample, DropState& state) {
    // A worker takes less than a microsecond to write one, and writes one in a millisecond.
    constexpr int kTries = 16;
    std::array<std::uint64_t, sizeof state / 8> words;
    for (int i = 0; i < kTries; ++i) {
        const std::uint64_t before = sample.sequence.load(std::memory_order_acquire);
        if (before == 0) return false;
        if (before % 2 != 0) continue;
        for (std::size_t w = 0; w < words.size(); ++w)
            words[w] = sample.words[w].load(std::memory_order_acquire);
        if (sample.sequence.load(std::memory_order_relaxed) != before) continue;
        std::memcpy(&state, words.data(), sizeof state);
        return true;
    }
    return false;
}

// How many packets of a tunnel were dropped, for the first three reasons that there were, and for
// all others. Each word has one writer, as a counter has.
struct TunnelDrops {
    static constexpr unsigned kReasons = 3;
    std::array<std::uint64_t, kReasons> reason;  // Exit in the top 8 bits, count below; 0: free
    std::uint64_t others;

    static constexpr unsigned kExitShift = 56;
    static constexpr std::uint64_t kCountMask = (std::uint64_t{1} << kExitShift) - 1;
};
static_assert(sizeof(TunnelDrops) == 32);

// A worker's own part. Null: it takes no notes.
struct WorkerDrops {
    DropSample* samples = nullptr;  // [exits][kDropSamples]
    TunnelDrops* tunnels = nullptr;
};

}  // namespace dr::southbound
