// Checks that need only the object itself: names, prefixes, limits, endpoints. The catalog
// (catalog.h) judges references between objects.
//
// Each function also brings the object into canonical form (prefixes and addresses in canonical
// text, weights and the hash seed filled in), so that equal objects are equal bytes.
#pragma once

#include <string_view>
#include <vector>

#include "base/ip.h"
#include "control/model/failure.h"
#include "dr/v1/resource.pb.h"

namespace dr::control {

// The product's limits. A refusal names the one that was exceeded.
inline constexpr int kMaxLines = 16;     // of a subscriber, and distinct ones of a policy
inline constexpr int kMaxClasses = 8;    // of a policy
inline constexpr int kMaxPrefixes = 64;  // of a subscriber
inline constexpr std::uint32_t kDefaultWaitToRestore = 60;  // s
inline constexpr std::uint32_t kMaxWaitToRestore = 65534;
inline constexpr std::uint32_t kMaxLossPermille = 999;
inline constexpr std::uint32_t kMaxDelayMs = 60'000;  // of a class's round trip and jitter
inline constexpr std::uint32_t kMinMtu = 1280;
inline constexpr std::uint32_t kMaxMtu = 9000;

// [a-z0-9][a-z0-9.-]{0,62}
bool is_name(std::string_view text);
// [a-z0-9][a-z0-9.-]{0,30}
bool is_line_name(std::string_view text);

// Bytes of outer header that a tunnel adds.
unsigned tunnel_overhead(bool ipv6, v1::Encapsulation encapsulation);

struct Endpoints {
    IpAddress local;
    IpAddress remote;  // family 0: learned
};

IpPrefix check_pool(v1::Pool& pool, Findings& findings);

void check_policy(v1::Policy& policy, Findings& findings);

struct CheckedSubscriber {
    std::vector<IpPrefix> prefixes;  // parallel to the object's, when there were no findings
    std::vector<Endpoints> tunnels;  // likewise
};
CheckedSubscriber check_subscriber(v1::Subscriber& subscriber, Findings& findings);

}  // namespace dr::control
