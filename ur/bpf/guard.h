/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only
 *
 * What may pass a line outside the tunnels: the router's own traffic, and what the operator lets
 * break out locally. Nothing from or to the site's prefixes does, nothing that tells of it, and
 * nothing that came in on a line leaves on one, nor reaches the LAN. This holds whatever rules,
 * routes and devices are.
 */
#ifndef DR_UR_BPF_GUARD_H
#define DR_UR_BPF_GUARD_H

#include "ur/bpf/relation.h"

#define UR_PASS TC_ACT_UNSPEC

#define UR_VLAN_ID 0x0fff
/* linux/if_packet.h, which has no place here: to this machine, to another's link address. */
#define UR_TO_US 0
#define UR_TO_OTHERS 3

/* A frame of another network on the same cable. Its VLAN has a device of its own, or nobody wants
 * it. A priority tag (id 0) is none. */
static __always_inline int ur_of_vlan(struct __sk_buff* skb) {
    return skb->vlan_present && (skb->vlan_tci & UR_VLAN_ID);
}

__noinline int ur_is_line(__u32 device) {
    for (__u32 i = 0; i < UR_LINES; i++)
        if (site.line[i] == device) return 1;
    return 0;
}

/* The device that the kernel would forward this packet to; 0: it is for the router itself, or goes
 * nowhere. What came to another link address than the device's own is not forwarded. */
__noinline __u32 ur_forward_device(struct __sk_buff* skb, __u32 at) {
    struct bpf_fib_lookup to = {.ifindex = skb->ifindex};

    if (skb->pkt_type != UR_TO_US) return 0;
    if (skb->protocol == bpf_htons(ETH_P_IP)) {
        struct ur_ip4 ip;

        if (bpf_skb_load_bytes(skb, at, &ip, sizeof(ip))) return 0;
        to.family = AF_INET;
        to.tos = ip.tos;
        to.l4_protocol = ip.protocol;
        to.ipv4_src = ip.source;
        to.ipv4_dst = ip.destination;
    } else if (skb->protocol == bpf_htons(ETH_P_IPV6)) {
        struct ur_ip6 ip;

        if (bpf_skb_load_bytes(skb, at, &ip, sizeof(ip))) return 0;
        to.family = AF_INET6;
        to.flowinfo = ip.first & bpf_htonl(0x0fffffff);
        to.l4_protocol = ip.next;
        __builtin_memcpy(to.ipv6_src, ip.source.word, sizeof(to.ipv6_src));
        __builtin_memcpy(to.ipv6_dst, ip.destination.word, sizeof(to.ipv6_dst));
    }
    if (!to.family) return 0;
    switch (bpf_fib_lookup(skb, &to, sizeof(to), 0)) {
        case BPF_FIB_LKUP_RET_SUCCESS:
        case BPF_FIB_LKUP_RET_UNSUPP_LWT:
        case BPF_FIB_LKUP_RET_NO_NEIGH:
        case BPF_FIB_LKUP_RET_FRAG_NEEDED:
            return to.ifindex;
        default:
            return 0;
    }
}

/* A packet that is none of a tunnel's, as it comes in on a line or on a device below one. */
static __always_inline int ur_plain_in(struct __sk_buff* skb, __u32 l2) {
    const int relation = ur_relation(skb, l2);
    __u32 device;

    if (relation == UR_HIDDEN) return ur_drop(UrDropLineHidden);
    if (relation != UR_FOREIGN) return ur_drop(UrDropLineIn);
    if (*(const volatile __u8*)&site.breakout) return UR_PASS;
    device = ur_forward_device(skb, l2);
    if (!device) return UR_PASS;
    return ur_drop(ur_is_line(device) ? UrDropLineTransit : UrDropLineForward);
}

/* Everything that leaves on a line. A forwarded packet has the device on which it came in; one of
 * this machine, or of a tunnel of its kernel, has none. */
static __always_inline int ur_line_out(struct __sk_buff* skb, __u32 l2) {
    __u32 from = skb->ingress_ifindex;
    int relation;

    if (skb->tc_index == UR_TUNNELLED) {
        skb->tc_index = 0;
        return UR_PASS;
    }
    if (ur_of_vlan(skb)) return UR_PASS;
    if (from && ur_is_line(from)) return ur_drop(UrDropLineTransit);
    relation = ur_relation(skb, l2);
    if (relation == UR_ABOUT_SITE) return ur_drop(UrDropLineIcmp);
    if (relation == UR_OF_SITE) return ur_drop(UrDropLineOut);
    if (from && !*(const volatile __u8*)&site.breakout) return ur_drop(UrDropBreakout);
    return UR_PASS;
}

#endif
