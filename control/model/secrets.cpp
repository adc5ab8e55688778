// Creates, rotates and removes the keys of tunnels.
#include "control/model/secrets.h"

#include <sys/random.h>

#include <cerrno>
#include <chrono>
#include <system_error>

namespace dr::control {
namespace {

constexpr std::uint32_t kLastNumber = 255;

void rotate_keys(store::TunnelKeys& keys) {
    keys.set_previous_number(keys.number());
    keys.set_previous(keys.key());
    keys.set_number(keys.number() >= kLastNumber ? 1 : keys.number() + 1);
    keys.set_key(random_bytes(kKeyBytes));
}

store::TunnelKeys first_keys(std::uint32_t id) {
    store::TunnelKeys keys;
    keys.set_id(id);
    keys.set_number(1);
    keys.set_key(random_bytes(kKeyBytes));
    return keys;
}

}  // namespace

bool has_keepalives(const v1::Tunnel& tunnel) {
    return tunnel.has_keepalive() ? tunnel.keepalive() : tunnel.remote().empty();
}

v1::Profile effective_profile(const v1::Subscriber& subscriber, const v1::Tunnel& tunnel) {
    if (tunnel.profile() != v1::PROFILE_UNSPECIFIED) return tunnel.profile();
    if (subscriber.profile() != v1::PROFILE_UNSPECIFIED) return subscriber.profile();
    return v1::FIXED;
}

std::int64_t wall_clock_us() {
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    return std::chrono::duration_cast<std::chrono::microseconds>(now).count();
}

std::string random_bytes(std::size_t bytes) {
    std::string out(bytes, '\0');
    std::size_t have = 0;
    while (have < bytes) {
        const ssize_t n = ::getrandom(out.data() + have, bytes - have, 0);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) throw std::system_error(errno, std::generic_category(), "getrandom");
        have += static_cast<std::size_t>(n);
    }
    return out;
}

const store::TunnelKeys* find_keys(const store::Secrets& secrets, std::uint32_t tunnel_id) {
    for (const auto& keys : secrets.tunnels())
        if (keys.id() == tunnel_id) return &keys;
    return nullptr;
}

void assign_keys(v1::Subscriber& subscriber, store::Secrets& secrets, bool rotate) {
    store::Secrets after;
    for (auto& tunnel : *subscriber.mutable_tunnels()) {
        tunnel.set_key_number(0);
        if (!has_keepalives(tunnel)) continue;
        auto& keys = *after.add_tunnels();
        if (const auto* before = find_keys(secrets, tunnel.id())) {
            keys = *before;
            if (rotate) rotate_keys(keys);
        } else {
            keys = first_keys(tunnel.id());
        }
        tunnel.set_key_number(keys.number());
    }
    secrets.mutable_tunnels()->Swap(after.mutable_tunnels());
}

}  // namespace dr::control
