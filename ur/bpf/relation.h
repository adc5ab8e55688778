/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only
 *
 * How a packet outside the tunnels has to do with the site, by what can be read of it.
 */
#ifndef DR_UR_BPF_RELATION_H
#define DR_UR_BPF_RELATION_H

#include "ur/bpf/flow.h"

/* Sender's and target's address of an ARP message about IPv4 over Ethernet. */
#define UR_ARP_SENDER 14
#define UR_ARP_TARGET 24
/* Router and neighbour solicitation and advertisement, redirect. From 135 on the target stands
 * behind 8 bytes; a redirect's destination follows it. */
#define UR_ND_FIRST 133
#define UR_ND_ADVERTISEMENT 134
#define UR_ND_TARGET 135
#define UR_ND_REDIRECT 137
/* Of a router advertisement: where its options start, how many are read, and those that make the
 * kernel have addresses and routes inside a prefix (RFC 4861 §4.6.2, RFC 4191 §2.3). */
#define UR_RA_OPTIONS 16
#define UR_RA_READ 32
#define UR_RA_PREFIX 3
#define UR_RA_ROUTE 24

enum ur_relation {
    UR_FOREIGN,
    UR_OF_SITE,    /* from or to the prefixes, or the neighbour protocols' question about one */
    UR_ABOUT_SITE, /* an ICMP error that quotes such a packet */
    UR_HIDDEN,     /* may be one, or neighbour discovery of the site: too little can be read */
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

/* Of a fragmented message the first fragment says what it is; without it the others are nothing. */
static __always_inline int ur_hides4(struct __sk_buff* skb, const struct ur_upper* u) {
    __u8 type;

    if (!u->fragment || u->later || u->protocol != IPPROTO_ICMP) return 0;
    return bpf_skb_load_bytes(skb, u->offset, &type, 1) || ur_is_error(type, 4);
}

/* The same; and a chain of headers whose end is not seen. */
static __always_inline int ur_hides6(struct __sk_buff* skb, const struct ur_upper* u) {
    __u8 type;

    if (u->unread) return 1;
    if (!u->fragment || u->later) return 0;
    if (ur_is_extension(u->protocol)) return 1;
    if (u->protocol != IPPROTO_ICMPV6) return 0;
    return bpf_skb_load_bytes(skb, u->offset, &type, 1) || ur_is_error(type, 6) ||
           (type >= UR_ND_FIRST && type <= UR_ND_REDIRECT);
}

__noinline int ur_relation4(struct __sk_buff* skb, __u32 at) {
    struct ur_upper u;
    struct ur_ip4 ip;
    __u32 quoted;

    if (bpf_skb_load_bytes(skb, at, &ip, sizeof(ip))) return UR_FOREIGN;
    if (ur_inside4(ip.source) || ur_inside4(ip.destination)) return UR_OF_SITE;
    ur_upper4(&ip, at, &u);
    if (ur_hides4(skb, &u)) return UR_HIDDEN;
    quoted = ur_quoted(skb, &u, 4);
    return quoted && ur_ends4(skb, quoted) ? UR_ABOUT_SITE : UR_FOREIGN;
}

/* A router advertisement that would give the router addresses or routes inside the prefixes. */
__noinline int ur_relation_ra(struct __sk_buff* skb, __u32 at) {
    for (__u32 i = 0; i < UR_RA_READ; i++) {
        struct ur_address prefix = {};
        __u8 h[2];

        if (bpf_skb_load_bytes(skb, at, h, sizeof(h)) || !h[1]) return UR_FOREIGN;
        if (h[0] == UR_RA_PREFIX)
            bpf_skb_load_bytes(skb, at + 16, &prefix, sizeof(prefix));
        else if (h[0] == UR_RA_ROUTE && h[1] == 2)
            bpf_skb_load_bytes(skb, at + 8, &prefix, 8);
        else if (h[0] == UR_RA_ROUTE && h[1] > 2)
            bpf_skb_load_bytes(skb, at + 8, &prefix, sizeof(prefix));
        if (ur_inside6(&prefix)) return UR_OF_SITE;
        at += h[1] * 8;
    }
    return UR_HIDDEN;
}

__noinline int ur_relation_nd(struct __sk_buff* skb, __u32 at, __u32 type) {
    struct ur_address named[2] = {};

    if (type == UR_ND_ADVERTISEMENT) return ur_relation_ra(skb, at + UR_RA_OPTIONS);
    if (type < UR_ND_TARGET) return UR_FOREIGN;
    if (bpf_skb_load_bytes(skb, at + 8, &named[0], sizeof(named[0]))) return UR_FOREIGN;
    if (type == UR_ND_REDIRECT) bpf_skb_load_bytes(skb, at + 24, &named[1], sizeof(named[1]));
    return ur_inside6(&named[0]) || ur_inside6(&named[1]) ? UR_OF_SITE : UR_FOREIGN;
}

__noinline int ur_relation6(struct __sk_buff* skb, __u32 at) {
    struct ur_upper u = {};
    __u32 quoted;
    __u8 next, type;

    if (ur_ends6(skb, at)) return UR_OF_SITE;
    if (bpf_skb_load_bytes(skb, at + 6, &next, 1)) return UR_FOREIGN;
    ur_upper6(skb, at, next, &u);
    if (ur_hides6(skb, &u)) return UR_HIDDEN;
    if (u.protocol != IPPROTO_ICMPV6 || u.later || bpf_skb_load_bytes(skb, u.offset, &type, 1))
        return UR_FOREIGN;
    if (type >= UR_ND_FIRST && type <= UR_ND_REDIRECT) return ur_relation_nd(skb, u.offset, type);
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

#endif
