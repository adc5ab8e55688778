/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only
 *
 * Uplink: packets that are larger than their tunnel carries. The routes hold the site's packets to
 * the tunnels' MTU, and the kernel tells the senders; but no IPv6 route has an MTU below 1280. So
 * an IPv6 sender is told here (RFC 4443 §3.2).
 */
#ifndef DR_UR_BPF_TOO_LARGE_H
#define DR_UR_BPF_TOO_LARGE_H

#include "ur/bpf/checksum.h"
#include "ur/bpf/flow.h"

#define UR_PACKET_TOO_BIG 2
#define UR_FIRST_INFORMATIONAL 128 /* ICMPv6 types below are errors */
/* What an error may quote: it is no larger than 1280 bytes itself. */
#define UR_QUOTE (1280 - sizeof(struct ur_ip6) - sizeof(struct ur_icmp6))

struct ur_icmp6 {
    __u8 type;
    __u8 code;
    __u16 checksum;
    __be32 mtu;
};

/* Of the packet on the wire; of a segmentable one, of its segments. */
static __always_inline __u32 ur_wire_size(struct __sk_buff* skb, const struct ur_upper* u) {
    __u32 header = sizeof(struct ur_udp);
    __u8 words;

    if (!skb->gso_size) return skb->len - ETH_HLEN;
    if (u->protocol == IPPROTO_TCP && !bpf_skb_load_bytes(skb, u->offset + 12, &words, 1))
        header = (words >> 4) * 4;
    return u->offset - ETH_HLEN + header + skb->gso_size;
}

static __always_inline int ur_is_error6(struct __sk_buff* skb, const struct ur_upper* u) {
    __u8 type;

    return u->protocol == IPPROTO_ICMPV6 &&
           (u->later || bpf_skb_load_bytes(skb, u->offset, &type, 1) ||
            type < UR_FIRST_INFORMATIONAL);
}

/* Makes the packet, which is whole, the error about itself; not 0: it is none. */
__noinline int ur_make_too_big(struct __sk_buff* skb, __u32 mtu) {
    const struct ur_rules* rules = ur_rules_now();
    struct ur_icmp6 icmp = {.type = UR_PACKET_TOO_BIG, .mtu = bpf_htonl(mtu)};
    struct ethhdr eth = {.h_proto = bpf_htons(ETH_P_IPV6)};
    struct ur_ip6 ip;
    __u32 quoted = skb->len - ETH_HLEN;
    __be32 end[2];
    __u32 start;
    int sum;

    if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip))) return -1;
    if (quoted > UR_QUOTE) quoted = UR_QUOTE;
    if (bpf_skb_change_tail(skb, ETH_HLEN + quoted, 0)) return -1;
    ip.first = bpf_htonl(6U << 28);
    ip.payload = bpf_htons(quoted + sizeof(icmp));
    ip.next = IPPROTO_ICMPV6;
    ip.hop_limit = 64;
    ip.destination = ip.source;
    ip.source = rules->own6;
    end[0] = bpf_htonl(quoted + sizeof(icmp));
    end[1] = bpf_htonl(IPPROTO_ICMPV6);
    start = bpf_csum_diff(0, 0, (__be32*)&ip.source, 2 * sizeof(ip.source), 0);
    start = bpf_csum_diff(0, 0, end, sizeof(end), start);
    start = bpf_csum_diff(0, 0, (__be32*)&icmp, sizeof(icmp), start);
    sum = ur_udp_sum(skb, ETH_HLEN, quoted, start);
    if (sum < 0) return -1;
    icmp.checksum = ~sum;
    /* The old Ethernet header ends where the new headers do. */
    if (bpf_skb_change_head(skb, sizeof(ip) + sizeof(icmp), 0)) return -1;
    __builtin_memcpy(eth.h_dest, site.device_mac, ETH_ALEN);
    __builtin_memcpy(eth.h_source, site.device_mac, ETH_ALEN);
    if (bpf_skb_store_bytes(skb, 0, &eth, sizeof(eth), 0) ||
        bpf_skb_store_bytes(skb, ETH_HLEN, &ip, sizeof(ip), 0))
        return -1;
    return bpf_skb_store_bytes(skb, ETH_HLEN + sizeof(ip), &icmp, sizeof(icmp), 0);
}

/* Of a packet of the site. `whole` as for ur_uplink(): the error quotes what the wire would carry.
 * The error comes in on the tunnel device, from where the kernel leads it to the sender. */
static __always_inline int ur_too_large(struct __sk_buff* skb, const struct ur_upper* u, __u32 mtu,
                                        int whole) {
    __u32 finisher = *(const volatile __u32*)&site.finisher;

    if (skb->protocol == bpf_htons(ETH_P_IPV6) && ur_rules_now()->own6.word[0] &&
        !ur_is_error6(skb, u)) {
        if (!whole && finisher) return bpf_redirect(finisher, 0);
        if (whole && !ur_make_too_big(skb, mtu)) {
            ur_count(UrDropTooLarge, 1);
            return bpf_redirect(site.device, BPF_F_INGRESS);
        }
    }
    ur_count(UrDropTooLarge, ur_segments(skb));
    return TC_ACT_SHOT;
}

#endif
