// The tunnels' keys: which tunnels have one, and when keys are made and removed. Keys are random,
// 32 bytes, and never part of an object that the API shows; they are kept in store::Secrets beside
// it, and they are never logged.
//
// Pure functions except for the randomness; any thread.
#pragma once

#include <cstdint>
#include <string>

#include "dr/store/secrets.pb.h"
#include "dr/v1/resource.pb.h"

namespace dr::control {

inline constexpr std::size_t kKeyBytes = 32;

// Whether keepalives run in the tunnel, so that it has a key.
bool has_keepalives(const v1::Tunnel& tunnel);
// FIXED, MOBILE, SATELLITE or METERED: the tunnel's own profile, or the subscriber's.
v1::Profile effective_profile(const v1::Subscriber& subscriber, const v1::Tunnel& tunnel);

// Microseconds since 1970, of this machine's clock: for display only.
std::int64_t wall_clock_us();

// `bytes` of the kernel's randomness. Throws std::system_error.
std::string random_bytes(std::size_t bytes);

// The keys of the tunnel with this id; null: none.
const store::TunnelKeys* find_keys(const store::Secrets& secrets, std::uint32_t tunnel_id);

// Brings `secrets` in step with the subscriber's tunnels, whose ids are set: a tunnel that has
// keepalives keeps its keys, or gets a first one; keys of deleted tunnels are removed. With
// `rotate` each key that was there becomes the previous one, and a new one takes its place. Sets
// Tunnel.key_number.
void assign_keys(v1::Subscriber& subscriber, store::Secrets& secrets, bool rotate);

}  // namespace dr::control
