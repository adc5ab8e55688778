// The liveness data of a tunnel, beside its row: its keys, its line, its profile. One row for each
// tunnel slot, written by the table writer, read by liveness lcores (never by workers).
//
// A row is wider than one store and is rewritten in place (a rotation, a change of policy), so it
// is guarded by a sequence number: read_tunnel_key() copies a row as of one moment. All fields are
// atomics; a reader that meets the writer tries again, and the writer never waits.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>

namespace dr {

using TunnelKey = std::array<std::uint8_t, 32>;

// A copy. `number` 0: no keepalives on this tunnel. Never to be logged.
struct TunnelKeys {
    std::uint32_t tunnel{};  // its id, generation included
    std::uint8_t number{};
    std::uint8_t previous_number{};  // still accepted; 0: none
    std::uint8_t line{};             // number in keepalives; kNoLine: in no class of the policy
    std::uint8_t profile{};          // 1 fixed, 2 mobile, 3 satellite, 4 metered
    TunnelKey key{};
    TunnelKey previous{};

    static constexpr std::uint8_t kNoLine = 0xff;

    bool operator==(const TunnelKeys&) const = default;
};
static_assert(sizeof(TunnelKeys) == 72);

struct alignas(8) TunnelKeyRow {
    std::atomic<std::uint32_t> sequence;  // odd: being written
    std::atomic<std::uint32_t> reserved;
    std::array<std::atomic<std::uint64_t>, sizeof(TunnelKeys) / 8> words;
};
static_assert(sizeof(TunnelKeyRow) == 80);

// The writer only.
inline void write_tunnel_key(TunnelKeyRow& row, const TunnelKeys& keys) {
    const std::uint32_t before = row.sequence.load(std::memory_order_relaxed);
    row.sequence.store(before + 1, std::memory_order_relaxed);
    std::array<std::uint64_t, sizeof(TunnelKeys) / 8> words;
    std::memcpy(words.data(), &keys, sizeof keys);
    // Release: a reader that sees a new word also sees the odd number before it.
    for (std::size_t i = 0; i < words.size(); ++i)
        row.words[i].store(words[i], std::memory_order_release);
    row.sequence.store(before + 2, std::memory_order_release);
}

// Any thread. The row is the zero row for a slot without a tunnel, or without keepalives.
inline TunnelKeys read_tunnel_key(const TunnelKeyRow& row) {
    for (;;) {
        const std::uint32_t before = row.sequence.load(std::memory_order_acquire);
        std::array<std::uint64_t, sizeof(TunnelKeys) / 8> words;
        for (std::size_t i = 0; i < words.size(); ++i)
            words[i] = row.words[i].load(std::memory_order_acquire);
        if ((before & 1U) != 0 || row.sequence.load(std::memory_order_relaxed) != before) continue;
        TunnelKeys keys;
        std::memcpy(static_cast<void*>(&keys), words.data(), sizeof keys);
        return keys;
    }
}

}  // namespace dr
