// Fills what the eBPF programs read.
#include "ur/site.h"

#include <algorithm>
#include <atomic>
#include <cstring>

namespace dr::ur {

namespace {

ur_prefix to_prefix(const IpPrefix& prefix) {
    IpAddress mask;
    for (unsigned bit = 0; bit < prefix.length; ++bit)
        mask.bytes[bit / 8] = static_cast<std::uint8_t>(mask.bytes[bit / 8] | 0x80U >> (bit % 8));
    return {to_words(prefix.address), to_words(mask)};
}

Eligible with(Eligible eligible, std::uint32_t always) {
    for (auto& lines : eligible) lines = static_cast<std::uint16_t>(lines | always);
    return eligible;
}

}  // namespace

ur_address to_words(const IpAddress& address) {
    ur_address out{};
    std::memcpy(out.word, address.bytes.data(), sizeof out.word);
    return out;
}

ur_rules make_rules(const Config& config) {
    ur_rules rules{};
    rules.seed = config.seed;
    rules.mtu = config.mtu();
    for (const auto& prefix : config.prefixes) {
        if (prefix.address.family == 4)
            rules.prefix4[rules.prefixes4++] = to_prefix(prefix);
        else
            rules.prefix6[rules.prefixes6++] = to_prefix(prefix);
    }
    return rules;
}

ur_rules make_rules(const Config& config, std::span<const IpPrefix> left_out,
                    std::span<const IpAddress> needed) {
    Config guarded = config;
    guarded.prefixes.insert(guarded.prefixes.end(), left_out.begin(), left_out.end());
    ur_rules rules = make_rules(guarded);
    for (const auto& address : needed) {
        if (address.family == 4 && rules.needed4 < UR_NEEDED)
            rules.need4[rules.needed4++] = to_words(address).word[0];
        else if (address.family == 6 && rules.needed6 < UR_NEEDED)
            rules.need6[rules.needed6++] = to_words(address);
    }
    return rules;
}

ur_tunnel make_tunnel(const Tunnel& tunnel) {
    ur_tunnel row{};
    row.id = tunnel.id;
    row.family = tunnel.remote.family;
    row.udp = tunnel.udp ? 1 : 0;
    row.keepalive = tunnel.keys.empty() ? 0 : 1;
    // With keepalives the ports are fixed until they have shown that there is no NAT.
    const bool entropy = tunnel.udp && tunnel.local_port == 0 && tunnel.keys.empty();
    row.entropy = entropy ? 1 : 0;
    row.local_port = tunnel.local_port != 0 ? tunnel.local_port : kGreUdpPort;
    row.remote_port = tunnel.remote_port;
    row.either = tunnel.automatic && !tunnel.keys.empty() ? 1 : 0;
    row.mtu = tunnel.mtu;
    row.remote = to_words(tunnel.remote);
    return row;
}

Eligible everywhere(std::uint32_t lines) {
    return with({}, lines);
}

BucketPlan plan_buckets(const Config& config, const Eligible& eligible) {
    std::array<std::uint8_t, kMaxLines> slot_of;
    slot_of.fill(UR_NO_SLOT);
    for (const auto& tunnel : config.tunnels)
        if (tunnel.number < slot_of.size())
            slot_of[tunnel.number] = static_cast<std::uint8_t>(tunnel.slot);
    BucketPlan plan;
    for (std::size_t c = 0; c < plan.size(); ++c) {
        plan[c].fill(UR_NO_SLOT);
        if (c >= config.classes.size()) continue;
        const BucketMap map = make_bucket_map(config.classes[c].tiers, eligible[c]);
        for (unsigned b = 0; b < UR_BUCKETS; ++b)
            if (map.line[b] < slot_of.size()) plan[c][b] = slot_of[map.line[b]];
    }
    return plan;
}

BucketPlan plan_buckets(const Config& config, const liveness::Choice& choice,
                        std::uint32_t always) {
    BucketPlan plan = plan_buckets(config, with(choice.eligible, always));
    if (!choice.moving) return plan;
    const BucketPlan before = plan_buckets(config, with(choice.previous, always));
    for (unsigned b = 0; b < UR_BUCKETS; ++b) {
        if ((choice.moved[b / 64] >> (b % 64) & 1U) != 0) continue;
        for (std::size_t c = 0; c < plan.size(); ++c) plan[c][b] = before[c][b];
    }
    return plan;
}

std::array<bool, UR_BUCKETS> moving_buckets(const Config& config, const liveness::Choice& choice) {
    const BucketPlan from = plan_buckets(config, choice.previous);
    const BucketPlan to = plan_buckets(config, choice.eligible);
    std::array<bool, UR_BUCKETS> out{};
    for (unsigned b = 0; b < UR_BUCKETS; ++b)
        for (std::size_t c = 0; c < from.size(); ++c) out[b] = out[b] || from[c][b] != to[c][b];
    return out;
}

void fill_site(const Config& config, ur_site& site) {
    site.rules[0] = make_rules(config);
    for (const auto& tunnel : config.tunnels) {
        site.tunnel[tunnel.slot].copy[0] = make_tunnel(tunnel);
        site.slots = std::max(site.slots, tunnel.slot + 1);
    }
    publish_buckets(plan_buckets(config, Eligible{}), site);
}

void publish_buckets(const BucketPlan& plan, ur_site& site) {
    for (std::size_t c = 0; c < plan.size(); ++c)
        for (unsigned b = 0; b < UR_BUCKETS; ++b)
            std::atomic_ref(site.bucket[c][b]).store(plan[c][b], std::memory_order_relaxed);
}

}  // namespace dr::ur
