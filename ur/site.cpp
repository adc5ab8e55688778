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

}  // namespace

ur_address to_words(const IpAddress& address) {
    ur_address out{};
    std::memcpy(out.word, address.bytes.data(), sizeof out.word);
    return out;
}

void fill_site(const Config& config, ur_site& site) {
    site.seed = config.seed;
    site.mtu = config.mtu();
    for (const auto& prefix : config.prefixes) {
        if (prefix.address.family == 4)
            site.prefix4[site.prefixes4++] = to_prefix(prefix);
        else
            site.prefix6[site.prefixes6++] = to_prefix(prefix);
    }
    for (const auto& tunnel : config.tunnels) {
        ur_tunnel& row = site.tunnel[tunnel.slot];
        row.id = tunnel.id;
        row.family = tunnel.remote.family;
        row.udp = tunnel.udp ? 1 : 0;
        row.local_port = tunnel.local_port;
        row.remote = to_words(tunnel.remote);
        site.slots = std::max(site.slots, tunnel.slot + 1);
    }
    fill_buckets(config, 0, site);
}

void fill_buckets(const Config& config, std::uint32_t lines, ur_site& site) {
    for (std::size_t c = 0; c < config.classes.size() && c < UR_CLASSES; ++c) {
        const BucketMap map =
            make_bucket_map(config.classes[c], static_cast<std::uint16_t>(lines & 0xffffU));
        static_assert(BucketMap::kNone == UR_NO_SLOT);
        for (unsigned b = 0; b < UR_BUCKETS; ++b)
            std::atomic_ref(site.bucket[c][b]).store(map.line[b], std::memory_order_relaxed);
    }
}

}  // namespace dr::ur
