/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only
 *
 * Downlink: from a line's device. Default deny: a tunnel's remote end, key and encapsulation, an
 * inner destination of the site, an inner source that is not. What is not in the format of one of
 * our tunnels goes past the guard (guard.h) to the kernel, untouched.
 */
#ifndef DR_UR_BPF_DECAPSULATE_H
#define DR_UR_BPF_DECAPSULATE_H

#include "ur/bpf/checksum.h"
#include "ur/bpf/guard.h"
#include "ur/bpf/mss.h"

/* The outer header. Offsets are from the start of the packet's data. */
struct ur_outer {
    struct ur_address source;
    struct ur_address destination;
    __u32 ip;  /* offset of the IP header */
    __u32 gre; /* offset of the GRE header */
    __u32 key;
    __u8 family;
    __u8 protocol;
    __u8 ecn;
    __u8 fragment;
    __u8 options; /* IPv4 options, or IPv6 extension headers */
    __u8 keyed;   /* key is valid: the GRE flags are those of a tunnel */
    __u16 source_port;
    __u16 destination_port;
    __be16 type; /* GRE protocol type */
};

static __always_inline int ur_outer4(struct __sk_buff* skb, struct ur_outer* o) {
    struct ur_ip4 ip;

    if (bpf_skb_load_bytes(skb, o->ip, &ip, sizeof(ip)) || ip.version_ihl < 0x45 ||
        ip.version_ihl > 0x4f)
        return -1;
    o->family = 4;
    o->source.word[0] = ip.source;
    o->destination.word[0] = ip.destination;
    o->protocol = ip.protocol;
    o->ecn = ip.tos & 3;
    o->fragment = (ip.fragment & bpf_htons(0x3fff)) != 0;
    o->gre = o->ip + (ip.version_ihl & 15) * 4;
    o->options = ip.version_ihl != 0x45;
    return ip.fragment & bpf_htons(0x1fff) ? 1 : 0;
}

static __always_inline int ur_outer6(struct __sk_buff* skb, struct ur_outer* o) {
    struct ur_upper u = {};
    struct ur_ip6 ip;

    if (bpf_skb_load_bytes(skb, o->ip, &ip, sizeof(ip))) return -1;
    ur_upper6(skb, o->ip, ip.next, &u);
    o->family = 6;
    o->source = ip.source;
    o->destination = ip.destination;
    o->protocol = u.protocol;
    o->ecn = bpf_ntohl(ip.first) >> 20 & 3;
    o->fragment = u.fragment;
    o->gre = u.offset;
    o->options = u.offset != o->ip + sizeof(ip);
    return u.later;
}

/* 0: GRE or UDP, and o is filled; not 0: nothing of ours. */
static __always_inline int ur_read_outer(struct __sk_buff* skb, struct ur_outer* o) {
    struct ur_gre gre = {};
    int later = skb->protocol == bpf_htons(ETH_P_IP) ? ur_outer4(skb, o) : ur_outer6(skb, o);

    if (later < 0 || (o->protocol != IPPROTO_GRE && o->protocol != IPPROTO_UDP)) return -1;
    if (later) return 0;
    if (o->protocol == IPPROTO_UDP) {
        struct ur_udp udp;

        if (bpf_skb_load_bytes(skb, o->gre, &udp, sizeof(udp))) return -1;
        o->source_port = bpf_ntohs(udp.source);
        o->destination_port = bpf_ntohs(udp.destination);
        o->gre += sizeof(udp);
    }
    o->keyed = !bpf_skb_load_bytes(skb, o->gre, &gre, sizeof(gre)) &&
               gre.flags == bpf_htons(UR_GRE_KEY_PRESENT);
    o->key = bpf_ntohl(gre.key);
    o->type = gre.protocol;
    return 0;
}

static __always_inline int ur_format(const struct ur_outer* o, const struct ur_tunnel* t) {
    if (o->protocol == IPPROTO_GRE) return !t->udp || t->either;
    return (t->udp || t->either) && o->destination_port == t->local_port;
}

/* A message for urd: in another encapsulation too, because that is how a path for it is found. */
static __always_inline int ur_is_message(const struct ur_outer* o, const struct ur_tunnel* t) {
    return t->keepalive && o->type == bpf_htons(UR_KEEPALIVE) && !o->fragment &&
           (o->protocol == IPPROTO_GRE || o->destination_port == t->local_port);
}

/* Slot of the tunnel that this packet is of; otherwise -1 to pass, or -2 - the counter to drop.
 * Global, not static: so the kernel's verifier goes through the loop once, and not again for all
 * that its callers may know, which takes seconds of urd's start. */
__noinline int ur_find_tunnel(const struct ur_outer* o) {
    int verdict = -1;

    if (!o) return verdict;
    for (__u32 i = 0; i < UR_SLOTS && i < site.slots; i++) {
        const struct ur_tunnel* t = ur_tunnel_of(i);
        int format, bound;

        if (t->family != o->family || !ur_same(&t->local, &o->destination)) continue;
        format = ur_format(o, t);
        bound = ur_same(&t->remote, &o->source);
        if (o->keyed && o->key == t->id) {
            if (bound && ur_is_message(o, t)) return i;
            if (format && bound &&
                (t->entropy || t->keepalive || !t->udp || o->source_port == t->remote_port))
                return i;
            if (format)
                verdict = -2 - UrDropOuterSource;
            else if (bound)
                verdict = -2 - UrDropEncapMismatch;
        }
        /* The tunnels' UDP port is urd's; GRE from elsewhere may be a tunnel of the kernel's own.
         */
        if (format && (bound || o->protocol == IPPROTO_UDP) && verdict == -1)
            verdict = -2 - UrDropUnknownTunnel;
    }
    if (verdict == -2 - UrDropUnknownTunnel && o->fragment) return -2 - UrDropOuterFragment;
    if (verdict == -2 - UrDropUnknownTunnel && !o->keyed) return -2 - UrDropGreFormat;
    return verdict;
}

/* What a receiver must verify where it is not 0 (RFC 768, RFC 8200 §8.1). The kernel has done so
 * for what it has joined. */
static __always_inline int ur_udp_is_right(struct __sk_buff* skb, const struct ur_outer* o,
                                           const struct ur_udp* udp) {
    const __u16 length = bpf_ntohs(udp->length);

    if (!udp->checksum || skb->gso_size) return 1;
    return ur_udp_sum(skb, o->gre - sizeof(*udp), length,
                      ur_pseudo_sum(&o->source, &o->destination, length)) == 0xffff;
}

/* What is wrong with the outer header of a tunnel's packet; UrCounters: nothing. */
static __always_inline __u32 ur_check_outer(struct __sk_buff* skb, const struct ur_outer* o) {
    if (o->fragment) return UrDropOuterFragment;
    if (o->family == 4) {
        __be32 ip[5];
        __u32 sum;

        if (bpf_skb_load_bytes(skb, o->ip, ip, sizeof(ip))) return UrDropBadChecksum;
        sum = bpf_csum_diff(0, 0, ip, sizeof(ip), 0);
        if (ur_fold(sum) != 0xffff) return UrDropBadChecksum;
    }
    if (o->protocol == IPPROTO_UDP) {
        __u32 at = o->gre - sizeof(struct ur_udp);
        struct ur_udp udp;

        if (bpf_skb_load_bytes(skb, at, &udp, sizeof(udp))) return UrDropUdpFormat;
        if (!skb->gso_size && (at + bpf_ntohs(udp.length) > skb->len || bpf_ntohs(udp.length) < 16))
            return UrDropUdpFormat;
        if (!ur_udp_is_right(skb, o, &udp)) return UrDropUdpChecksum;
    }
    if (o->type == bpf_htons(UR_KEEPALIVE)) return UrDropKeepalive;
    if (o->type != bpf_htons(ETH_P_IP) && o->type != bpf_htons(ETH_P_IPV6))
        return UrDropGreProtocol;
    return UrCounters;
}

/* The ECN field after decapsulation (RFC 6040 figure 4); 4: drop. */
static __always_inline __u8 ur_combine_ecn(__u8 outer, __u8 inner) {
    if (outer == 3) return inner ? 3 : 4;
    return outer == 1 && inner == 2 ? 1 : inner;
}

static __always_inline __u32 ur_set_ecn4(struct __sk_buff* skb, __u32 at, struct ur_ip4* ip,
                                         __u8 outer) {
    __u8 ecn = ur_combine_ecn(outer, ip->tos & 3);
    __be16 before, after;

    if (ecn == (ip->tos & 3)) return UrCounters;
    if (ecn > 3) return UrDropEcn;
    before = bpf_htons(ip->version_ihl << 8 | ip->tos);
    after = bpf_htons(ip->version_ihl << 8 | (ip->tos & 0xfc) | ecn);
    bpf_l3_csum_replace(skb, at + 10, before, after, 2);
    bpf_skb_store_bytes(skb, at, &after, sizeof(after), 0);
    return UrCounters;
}

static __always_inline __u32 ur_set_ecn6(struct __sk_buff* skb, __u32 at, struct ur_ip6* ip,
                                         __u8 outer) {
    __u32 first = bpf_ntohl(ip->first);
    __u8 inner = first >> 20 & 3;
    __u8 ecn = ur_combine_ecn(outer, inner);

    if (ecn == inner) return UrCounters;
    if (ecn > 3) return UrDropEcn;
    ip->first = bpf_htonl((first & ~(3U << 20)) | (__u32)ecn << 20);
    bpf_skb_store_bytes(skb, at, &ip->first, sizeof(ip->first), 0);
    return UrCounters;
}

__noinline __u32 ur_inner4(struct __sk_buff* skb, __u32 at, __u32 outer_ecn) {
    struct ur_upper u;
    struct ur_ip4 ip;
    __u32 bad;

    if (bpf_skb_load_bytes(skb, at, &ip, sizeof(ip)) || ip.version_ihl < 0x45 ||
        ip.version_ihl > 0x4f)
        return UrDropInnerFormat;
    if (!skb->gso_size &&
        (at + bpf_ntohs(ip.length) > skb->len || bpf_ntohs(ip.length) < (ip.version_ihl & 15) * 4))
        return UrDropInnerFormat;
    if (!ur_inside4(ip.destination)) return UrDropInnerDestination;
    if (ur_inside4(ip.source)) return UrDropInnerSource;
    bad = ur_set_ecn4(skb, at, &ip, outer_ecn);
    if (bad != UrCounters) return bad;
    ur_upper4(&ip, at, &u);
    ur_maybe_clamp(skb, &u, 4);
    return UrCounters;
}

__noinline __u32 ur_inner6(struct __sk_buff* skb, __u32 at, __u32 outer_ecn) {
    struct ur_upper u = {};
    struct ur_ip6 ip;
    __u32 bad;

    if (bpf_skb_load_bytes(skb, at, &ip, sizeof(ip)) || bpf_ntohl(ip.first) >> 28 != 6)
        return UrDropInnerFormat;
    if (!skb->gso_size && at + sizeof(ip) + bpf_ntohs(ip.payload) > skb->len)
        return UrDropInnerFormat;
    if (!ur_inside6(&ip.destination)) return UrDropInnerDestination;
    if (ur_inside6(&ip.source)) return UrDropInnerSource;
    bad = ur_set_ecn6(skb, at, &ip, outer_ecn);
    if (bad != UrCounters) return bad;
    ur_upper6(skb, at, ip.next, &u);
    ur_maybe_clamp(skb, &u, 6);
    return UrCounters;
}

/* Leaves Ethernet and the inner packet; l2: length of the line's own link header, 14 or 0.
 * Before Linux 6.3 the flag that names the inner family does not exist; there the Ethernet type
 * alone names it, and IPv4 packets under 40 bytes inside IPv6 cannot be unpacked. */
static __always_inline int ur_remove_outer(struct __sk_buff* skb, __u32 header, __be16 type,
                                           __u32 l2) {
    __u64 family =
        type == bpf_htons(ETH_P_IP) ? BPF_F_ADJ_ROOM_DECAP_L3_IPV4 : BPF_F_ADJ_ROOM_DECAP_L3_IPV6;
    struct ethhdr eth;

    if (bpf_skb_adjust_room(skb, -(int)header, BPF_ADJ_ROOM_MAC,
                            BPF_F_ADJ_ROOM_FIXED_GSO | family) &&
        bpf_skb_adjust_room(skb, -(int)header, BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_FIXED_GSO))
        return -1;
    if (!l2 && bpf_skb_change_head(skb, ETH_HLEN, 0)) return -1;
    __builtin_memcpy(eth.h_dest, site.device_mac, ETH_ALEN);
    __builtin_memcpy(eth.h_source, site.device_mac, ETH_ALEN);
    eth.h_proto = type;
    return bpf_skb_store_bytes(skb, 0, &eth, sizeof(eth), 0);
}

/* To urd, as it is. */
static __always_inline int ur_keepalive_in(struct __sk_buff* skb, __u32 l2, __u32 slot) {
    struct ethhdr eth = {.h_source = {UR_KEEPALIVE_MAC, slot}, .h_proto = bpf_htons(UR_KEEPALIVE)};

    __builtin_memcpy(eth.h_dest, site.device_mac, ETH_ALEN);
    if (!l2 && bpf_skb_change_head(skb, ETH_HLEN, 0)) return ur_drop(UrDropDecapsulate);
    if (bpf_skb_store_bytes(skb, 0, &eth, sizeof(eth), 0)) return ur_drop(UrDropDecapsulate);
    ur_count(UrKeepaliveDownlink, 1);
    return bpf_redirect(site.device, BPF_F_INGRESS);
}

/* On a device below a line's, where a frame is before it is the line's: a VLAN's and PPPoE's pass,
 * and so do those of another link address, which a device on top of this one takes. */
static __always_inline int ur_below(struct __sk_buff* skb, __u32 l2) {
    struct ur_outer o = {.ip = l2};

    if (ur_of_vlan(skb) || skb->pkt_type == UR_TO_OTHERS) return UR_PASS;
    if (skb->vlan_present && bpf_skb_vlan_pop(skb)) return ur_drop(UrDropDecapsulate);
    if (skb->vlan_present) return ur_drop(UrDropLineVlan);
    if ((skb->protocol == bpf_htons(ETH_P_IP) || skb->protocol == bpf_htons(ETH_P_IPV6)) &&
        !ur_read_outer(skb, &o) && ur_find_tunnel(&o) >= 0)
        return UR_PASS;
    return ur_plain_in(skb, l2);
}

static __always_inline int ur_downlink(struct __sk_buff* skb, __u32 l2) {
    struct ur_outer o = {.ip = l2};
    struct ur_tunnel_counters* count;
    __u32 at, bad, length, segments, slot;
    int found;

    if (ur_of_vlan(skb)) return UR_PASS;
    if (skb->vlan_present && bpf_skb_vlan_pop(skb)) return ur_drop(UrDropDecapsulate);
    if (skb->vlan_present) return ur_drop(UrDropLineVlan);
    if (skb->protocol != bpf_htons(ETH_P_IP) && skb->protocol != bpf_htons(ETH_P_IPV6))
        return ur_plain_in(skb, l2);
    if (ur_read_outer(skb, &o)) return ur_plain_in(skb, l2);
    found = ur_find_tunnel(&o);
    if (found == -1) return ur_plain_in(skb, l2);
    if (found < -1) return ur_drop(-2 - found);
    if (o.options && !o.fragment) return ur_drop(UrDropOuterOptions);
    slot = found & (UR_SLOTS - 1);
    if (ur_is_message(&o, ur_tunnel_of(slot))) return ur_keepalive_in(skb, l2, slot);
    segments = ur_segments(skb);
    count = bpf_map_lookup_elem(&tunnel_counters, &slot);
    /* What the path has fragmented it has lost: the DR has to send smaller packets. */
    if (count && !o.fragment) count->rx_arrived += segments;
    bad = ur_check_outer(skb, &o);
    if (bad != UrCounters) return ur_drop(bad);
    at = o.gre + sizeof(struct ur_gre);
    bad = o.type == bpf_htons(ETH_P_IP) ? ur_inner4(skb, at, o.ecn) : ur_inner6(skb, at, o.ecn);
    if (bad != UrCounters) return ur_drop(bad);
    if (ur_moving())
        ur_note_use(o.type == bpf_htons(ETH_P_IP) ? ur_hash4(skb, at) : ur_hash6(skb, at));
    length = skb->len - at;
    if (ur_remove_outer(skb, at - l2, o.type, l2)) return ur_drop(UrDropDecapsulate);
    if (count) {
        count->rx_packets += segments;
        count->rx_bytes += length;
    }
    ur_count(UrForwardedDownlink, segments);
    return bpf_redirect(site.device, BPF_F_INGRESS);
}

#endif
