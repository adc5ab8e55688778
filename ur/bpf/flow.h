/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only
 *
 * From an IP packet to its flow hash, as proto/TUNNEL.md §3 defines it. `base` is where the IP
 * header starts, from the start of the packet's data; the packet ends at skb->len.
 */
#ifndef DR_UR_BPF_FLOW_H
#define DR_UR_BPF_FLOW_H

#include "ur/bpf/base.h"

/* Extension headers followed; a longer chain counts as "no next header". */
#define UR_EXTENSIONS 8

struct ur_upper {
    __u32 offset; /* of the upper-layer header, from the start of the data */
    __u8 protocol;
    __u8 fragment; /* any fragment, the first included */
    __u8 later;    /* not the first fragment */
    __u8 unread;   /* the chain of extension headers is cut short, or longer than is followed */
};

static __always_inline void ur_upper4(const struct ur_ip4* ip, __u32 base, struct ur_upper* u) {
    u->offset = base + (ip->version_ihl & 15) * 4;
    u->protocol = ip->protocol;
    u->fragment = (ip->fragment & bpf_htons(0x3fff)) != 0;
    u->later = (ip->fragment & bpf_htons(0x1fff)) != 0;
    u->unread = 0;
}

static __always_inline int ur_is_extension(__u8 protocol) {
    return protocol == IPPROTO_HOPOPTS || protocol == IPPROTO_ROUTING ||
           protocol == IPPROTO_DSTOPTS || protocol == IPPROTO_FRAGMENT;
}

static __noinline int ur_upper6(struct __sk_buff* skb, __u32 base, __u32 next, struct ur_upper* u) {
    __u8 h[4];

    if (!u) return -1;
    u->offset = base + sizeof(struct ur_ip6);
    u->protocol = next;
    u->fragment = 0;
    u->later = 0;
    u->unread = 0;
    for (int i = 0; i <= UR_EXTENSIONS; i++) {
        __u32 size = 8;

        if (!ur_is_extension(u->protocol)) return 0;
        if (i == UR_EXTENSIONS || bpf_skb_load_bytes(skb, u->offset, h, sizeof(h))) break;
        if (u->protocol == IPPROTO_FRAGMENT) {
            u->fragment = 1;
            u->later = (h[2] | (h[3] & 0xf8)) != 0;
        } else {
            size = (h[1] + 1) * 8;
        }
        if (u->offset + size > skb->len) break;
        u->protocol = h[0];
        u->offset += size;
        /* What follows a fragment header is in the first fragment alone: all must look alike. */
        if (u->fragment) return 0;
    }
    u->protocol = IPPROTO_NONE;
    u->unread = 1;
    return 0;
}

/* Both ports as they lie in the packet; 0 when the flow has none. */
static __always_inline __u32 ur_ports(struct __sk_buff* skb, const struct ur_upper* u) {
    __u32 ports = 0;

    if (u->fragment || (u->protocol != IPPROTO_TCP && u->protocol != IPPROTO_UDP)) return 0;
    if (bpf_skb_load_bytes(skb, u->offset, &ports, sizeof(ports))) return 0;
    return bpf_ntohl(ports);
}

/* Whether an ICMP message of this type is an error, which quotes a packet. */
static __always_inline int ur_is_error(__u8 type, __u32 family) {
    if (family == 6) return type < 128;
    return type == 3 || type == 4 || type == 5 || type == 11 || type == 12;
}

/* Where the packet that an ICMP error is about starts; 0: not an error, or cut too short. */
static __always_inline __u32 ur_quoted(struct __sk_buff* skb, const struct ur_upper* u,
                                       __u32 family) {
    __u8 type = 0, first = 0;
    __u32 quoted = u->offset + 8;

    if (u->fragment || u->protocol != (family == 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6)) return 0;
    if (quoted + (family == 4 ? sizeof(struct ur_ip4) : sizeof(struct ur_ip6)) > skb->len) return 0;
    if (bpf_skb_load_bytes(skb, u->offset, &type, 1) || bpf_skb_load_bytes(skb, quoted, &first, 1))
        return 0;
    if (!ur_is_error(type, family)) return 0;
    if (family == 6) return first >> 4 == 6 ? quoted : 0;
    return first >> 4 == 4 && (first & 15) >= 5 ? quoted : 0;
}

static __always_inline __u64 ur_end6(const struct ur_address* a, __u16 port) {
    __u64 hi = (__u64)bpf_ntohl(a->word[0]) << 32 | bpf_ntohl(a->word[1]);
    __u64 lo = (__u64)bpf_ntohl(a->word[2]) << 32 | bpf_ntohl(a->word[3]);

    return dr_flow_end6(hi, lo, port);
}

__noinline __u32 ur_hash4(struct __sk_buff* skb, __u32 base) {
    struct ur_upper u;
    struct ur_ip4 ip;
    __u32 quoted, ports;

    if (bpf_skb_load_bytes(skb, base, &ip, sizeof(ip))) return 0;
    ur_upper4(&ip, base, &u);
    quoted = ur_quoted(skb, &u, 4);
    if (quoted && !bpf_skb_load_bytes(skb, quoted, &ip, sizeof(ip))) ur_upper4(&ip, quoted, &u);
    ports = ur_ports(skb, &u);
    return dr_flow_hash(dr_flow_end4(bpf_ntohl(ip.source), ports >> 16),
                        dr_flow_end4(bpf_ntohl(ip.destination), (__u16)ports), u.protocol,
                        ur_rules_now()->seed);
}

__noinline __u32 ur_hash6(struct __sk_buff* skb, __u32 base) {
    struct ur_upper u = {};
    struct ur_ip6 ip;
    __u32 quoted, ports;

    if (bpf_skb_load_bytes(skb, base, &ip, sizeof(ip))) return 0;
    ur_upper6(skb, base, ip.next, &u);
    quoted = ur_quoted(skb, &u, 6);
    if (quoted && !bpf_skb_load_bytes(skb, quoted, &ip, sizeof(ip)))
        ur_upper6(skb, quoted, ip.next, &u);
    ports = ur_ports(skb, &u);
    return dr_flow_hash(ur_end6(&ip.source, ports >> 16), ur_end6(&ip.destination, (__u16)ports),
                        u.protocol, ur_rules_now()->seed);
}

/* The slot that this hash goes to, UR_NO_SLOT when the class has no usable line. */
static __always_inline __u32 ur_choose(__u32 hash) {
    return *(const volatile __u8*)&site.bucket[0][dr_flow_bucket(hash) & (UR_BUCKETS - 1)];
}

#endif
