/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only
 *
 * What may pass a line outside the tunnels: the router's own traffic, and what the operator lets
 * break out locally. Nothing from or to the site's prefixes does, nothing that tells of it, and
 * nothing that came in on a line leaves on one. This holds whatever rules, routes and devices are.
 */
#ifndef DR_UR_BPF_GUARD_H
#define DR_UR_BPF_GUARD_H

#include "ur/bpf/flow.h"

#define UR_PASS TC_ACT_UNSPEC

#define UR_VLAN_ID 0x0fff
/* Sender's and target's address of an ARP message about IPv4 over Ethernet. */
#define UR_ARP_SENDER 14
#define UR_ARP_TARGET 24
/* Neighbour solicitation, advertisement, redirect: the target stands behind 8 bytes. */
#define UR_ND_FIRST 135
#define UR_ND_LAST 137

/* How a packet outside the tunnels has to do with the site. */
enum ur_relation {
    UR_FOREIGN,
    UR_OF_SITE,    /* from or to the prefixes, or the neighbour protocols' question about one */
    UR_ABOUT_SITE, /* an ICMP error that quotes such a packet */
};

static __always_inline int ur_ends4(struct __sk_buff* skb, __u32 at) {
    __be32 end[2];

    if (bpf_skb_load_bytes(skb, at + 12, end, sizeof(end))) return 0;
    return ur_inside4(end[0]) || ur_inside4(end[1]);
}

static __always_inline int ur_ends6(struct __sk_buff* skb, __u32 at) {
    struct ur_address end[2];

    if (bpf_skb_load_bytes(skb, at + 8, end, sizeof(end))) return 0;
    return ur_inside6(&end[0]) || ur_inside6(&end[1]);
}

__noinline int ur_relation4(struct __sk_buff* skb, __u32 at) {
    struct ur_upper u;
    struct ur_ip4 ip;
    __u32 quoted;

    if (bpf_skb_load_bytes(skb, at, &ip, sizeof(ip))) return UR_FOREIGN;
    if (ur_inside4(ip.source) || ur_inside4(ip.destination)) return UR_OF_SITE;
    ur_upper4(&ip, at, &u);
    quoted = ur_quoted(skb, &u, 4);
    return quoted && ur_ends4(skb, quoted) ? UR_ABOUT_SITE : UR_FOREIGN;
}

__noinline int ur_relation6(struct __sk_buff* skb, __u32 at) {
    struct ur_upper u = {};
    struct ur_address target;
    __u32 quoted;
    __u8 next, type;

    if (ur_ends6(skb, at)) return UR_OF_SITE;
    if (bpf_skb_load_bytes(skb, at + 6, &next, 1)) return UR_FOREIGN;
    ur_upper6(skb, at, next, &u);
    if (u.protocol != IPPROTO_ICMPV6 || u.later || bpf_skb_load_bytes(skb, u.offset, &type, 1))
        return UR_FOREIGN;
    if (type >= UR_ND_FIRST && type <= UR_ND_LAST) {
        if (bpf_skb_load_bytes(skb, u.offset + 8, &target, sizeof(target))) return UR_FOREIGN;
        return ur_inside6(&target) ? UR_OF_SITE : UR_FOREIGN;
    }
    quoted = ur_quoted(skb, &u, 6);
    return quoted && ur_ends6(skb, quoted) ? UR_ABOUT_SITE : UR_FOREIGN;
}

__noinline int ur_relation_arp(struct __sk_buff* skb, __u32 at) {
    __be32 sender, target;

    if (bpf_skb_load_bytes(skb, at + UR_ARP_SENDER, &sender, sizeof(sender)) ||
        bpf_skb_load_bytes(skb, at + UR_ARP_TARGET, &target, sizeof(target)))
        return UR_FOREIGN;
    return ur_inside4(sender) || ur_inside4(target) ? UR_OF_SITE : UR_FOREIGN;
}

static __always_inline int ur_relation(struct __sk_buff* skb, __u32 l2) {
    if (skb->protocol == bpf_htons(ETH_P_IP)) return ur_relation4(skb, l2);
    if (skb->protocol == bpf_htons(ETH_P_IPV6)) return ur_relation6(skb, l2);
    if (skb->protocol == bpf_htons(ETH_P_ARP)) return ur_relation_arp(skb, l2);
    return UR_FOREIGN;
}

/* A frame of another network on the same cable. Its VLAN has a device of its own, or nobody wants
 * it. A priority tag (id 0) is none. */
static __always_inline int ur_of_vlan(struct __sk_buff* skb) {
    return skb->vlan_present && (skb->vlan_tci & UR_VLAN_ID);
}

/* A packet that is none of a tunnel's, as it comes in on a line. */
static __always_inline int ur_plain_in(struct __sk_buff* skb, __u32 l2) {
    return ur_relation(skb, l2) == UR_FOREIGN ? UR_PASS : ur_drop(UrDropLineIn);
}

__noinline int ur_is_line(__u32 device) {
    for (__u32 i = 0; i < UR_LINES; i++)
        if (site.line[i] == device) return 1;
    return 0;
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
