// From the configuration to what the eBPF programs read. Pure functions; any thread.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "dataplane/liveness/engine.h"
#include "ur/bpf/shared.h"
#include "ur/config.h"

namespace dr::ur {

// An address as the programs hold it: network byte order.
ur_address to_words(const IpAddress& address);

// What concerns the whole site.
ur_rules make_rules(const Config& config);
// The same with what is still guarded though it is not in use, and the addresses in it that count
// as outside; more than UR_NEEDED of a family are left out.
ur_rules make_rules(const Config& config, std::span<const IpPrefix> left_out,
                    std::span<const IpAddress> needed);
// A tunnel as configured, without a path: unusable until it has one.
ur_tunnel make_tunnel(const Tunnel& tunnel);

// Eligible lines of each class, bit n: line number n.
using Eligible = std::array<std::uint16_t, UR_CLASSES>;
// The slot of each bucket of each class, UR_NO_SLOT where none.
using BucketPlan = std::array<std::array<std::uint8_t, UR_BUCKETS>, UR_CLASSES>;

// The same lines in every class.
Eligible everywhere(std::uint32_t lines);
BucketPlan plan_buckets(const Config& config, const Eligible& eligible);
// The engine's choice: while it moves, buckets that have not been moved go where they went.
// `always` are lines without keepalives that are up, which the engine does not know of.
BucketPlan plan_buckets(const Config& config, const liveness::Choice& choice, std::uint32_t always);
// Whether the two sets that a move is between send a bucket to different slots, in any class.
std::array<bool, UR_BUCKETS> moving_buckets(const Config& config, const liveness::Choice& choice);

// Everything of a zero-filled site except its device and the tunnels' paths, for tests of the
// programs.
void fill_site(const Config& config, ur_site& site);
// The programs may be running: every bucket changes by itself.
void publish_buckets(const BucketPlan& plan, ur_site& site);

}  // namespace dr::ur
