// Authentication of messages: per-direction keys, the tag, the replay window, challenge tokens.
//
// Tag: SipHash-2-4 with 128 bits of output (Aumasson, Bernstein 2012; libsodium's
// crypto_shorthash_siphashx24) over the whole message before it. Key of a direction: keyed BLAKE2b
// of tunnel key, direction, key number and GRE key, so a message of another tunnel, of another
// direction (a reflected one) or of another key fails. The sender's salt is in the message, under
// the tag.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "dataplane/liveness/engine.h"

namespace dr::liveness {

using MacKey = std::array<std::uint8_t, 16>;

// `sender`: the end that sends in this direction.
MacKey derive_mac_key(const TunnelKey& key, Role sender, std::uint32_t gre_key);

// `message` has the tag's room at its end.
void write_tag(const MacKey& key, std::span<std::uint8_t> message);
[[nodiscard]] bool verify_tag(const MacKey& key, std::span<const std::uint8_t> message);

// Sliding window over the peer's counter (RFC 4303 §3.4.3, RFC 6479): 64 messages wide.
struct ReplayWindow {
    std::uint64_t highest = 0;
    std::uint64_t seen = 0;  // bit n: highest - n
    static constexpr unsigned kWidth = 64;

    // True when `counter` is new; changes nothing.
    [[nodiscard]] bool fresh(std::uint64_t counter) const {
        if (counter > highest) return true;
        const std::uint64_t age = highest - counter;
        return age < kWidth && (seen >> age & 1U) == 0;
    }
    void mark(std::uint64_t counter) {
        if (counter <= highest) {
            seen |= std::uint64_t{1} << (highest - counter);
            return;
        }
        const std::uint64_t step = counter - highest;
        seen = step < kWidth ? seen << step | 1U : 1U;
        highest = counter;
    }
    // Starts at `counter`: it and all before it are seen.
    void restart(std::uint64_t counter) {
        highest = counter;
        seen = ~std::uint64_t{0};
    }
};

// Challenge tokens hold no state: a keyed hash of what is challenged and of the time, valid for the
// current and the previous period of 4 s, and void once the tunnel has adopted anything.
class Tokens {
  public:
    explicit Tokens(const std::array<std::uint64_t, 2>& secret) : secret_(secret) {}
    [[nodiscard]] std::uint64_t make(Time now, std::uint32_t gre_key, std::uint32_t adoptions,
                                     std::uint64_t salt, const Endpoint& endpoint) const;
    [[nodiscard]] bool valid(std::uint64_t token, Time now, std::uint32_t gre_key,
                             std::uint32_t adoptions, std::uint64_t salt,
                             const Endpoint& endpoint) const;
    // Where the time of the last answer to such a message is kept: as unforeseeable as a token, so
    // that nobody can choose messages whose answers take the place of another's.
    [[nodiscard]] std::uint64_t place(std::uint32_t kind, std::uint32_t gre_key, std::uint64_t salt,
                                      const Endpoint& endpoint) const;

  private:
    static constexpr Time kPeriod = 4 * kSecond;
    std::array<std::uint64_t, 2> secret_;
};

}  // namespace dr::liveness
