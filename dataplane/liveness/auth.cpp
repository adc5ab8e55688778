// Tags of messages by SipHash, and keys of a direction.
#include "dataplane/liveness/auth.h"

#include <sodium.h>

#include <cstring>

namespace dr::liveness {

static_assert(crypto_shorthash_siphashx24_BYTES == wire::kTagSize);
static_assert(crypto_shorthash_siphashx24_KEYBYTES == sizeof(MacKey));

MacKey derive_mac_key(const TunnelKey& key, Role sender, std::uint32_t gre_key) {
    static constexpr char kLabel[] = "DR keepalive v1";  // 15 characters, no terminating zero
    std::array<std::uint8_t, sizeof kLabel - 1 + 6> input;
    std::memcpy(input.data(), kLabel, sizeof kLabel - 1);
    std::uint8_t* p = input.data() + sizeof kLabel - 1;
    *p++ = static_cast<std::uint8_t>(sender);
    *p++ = key.number;
    const Be32 id = Be32::from(gre_key);
    std::memcpy(p, &id, sizeof id);
    MacKey result;
    crypto_generichash_blake2b(result.data(), result.size(), input.data(), input.size(),
                               key.bytes.data(), key.bytes.size());
    return result;
}

void write_tag(const MacKey& key, std::span<std::uint8_t> message) {
    const std::size_t covered = message.size() - wire::kTagSize;
    crypto_shorthash_siphashx24(message.data() + covered, message.data(), covered, key.data());
}

bool verify_tag(const MacKey& key, std::span<const std::uint8_t> message) {
    std::array<std::uint8_t, wire::kTagSize> tag;
    const std::size_t covered = message.size() - wire::kTagSize;
    crypto_shorthash_siphashx24(tag.data(), message.data(), covered, key.data());
    return crypto_verify_16(tag.data(), message.data() + covered) == 0;
}

namespace {

struct TokenInput {
    std::uint64_t period;
    std::uint64_t salt;
    std::uint32_t gre_key;
    std::uint32_t adoptions;
    Endpoint endpoint;
    std::uint32_t purpose;  // 0: a token; else a place, of kind `period`
};
static_assert(sizeof(TokenInput) == 48);

std::uint64_t token_of(const std::array<std::uint64_t, 2>& secret, const TokenInput& input) {
    std::uint64_t token = 0;
    crypto_shorthash_siphash24(reinterpret_cast<std::uint8_t*>(&token),
                               reinterpret_cast<const std::uint8_t*>(&input), sizeof input,
                               reinterpret_cast<const std::uint8_t*>(secret.data()));
    return token == 0 ? 1 : token;
}

}  // namespace

std::uint64_t Tokens::make(Time now, std::uint32_t gre_key, std::uint32_t adoptions,
                           std::uint64_t salt, const Endpoint& endpoint) const {
    return token_of(secret_, {now / kPeriod, salt, gre_key, adoptions, endpoint, 0});
}

bool Tokens::valid(std::uint64_t token, Time now, std::uint32_t gre_key, std::uint32_t adoptions,
                   std::uint64_t salt, const Endpoint& endpoint) const {
    const std::uint64_t period = now / kPeriod;
    const bool current =
        token == token_of(secret_, {period, salt, gre_key, adoptions, endpoint, 0});
    const bool before =
        token == token_of(secret_, {period - 1, salt, gre_key, adoptions, endpoint, 0});
    return current || before;
}

std::uint64_t Tokens::place(std::uint32_t kind, std::uint32_t gre_key, std::uint64_t salt,
                            const Endpoint& endpoint) const {
    return token_of(secret_, {kind, salt, gre_key, 0, endpoint, 1});
}

}  // namespace dr::liveness
