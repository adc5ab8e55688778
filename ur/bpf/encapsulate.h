/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only
 *
 * Uplink: the outer header in front of a packet of the site, and out of the line's device.
 */
#ifndef DR_UR_BPF_ENCAPSULATE_H
#define DR_UR_BPF_ENCAPSULATE_H

#include "ur/bpf/checksum.h"
#include "ur/bpf/mss.h"
#include "ur/bpf/too_large.h"

/* A segmentable packet may exceed 16 bits with its outer header; segmenting writes every length
 * anew, so the value only has to be large. */
static __always_inline __be16 ur_length(__u32 length) {
    return bpf_htons(length > 0xffff ? 0xffff : length);
}

static __always_inline int ur_write_ip4(struct __sk_buff* skb, const struct ur_tunnel* t,
                                        __u32 length, __u8 tos) {
    struct ur_ip4 ip = {
        .version_ihl = 0x45,
        .tos = tos,
        .length = ur_length(length),
        .fragment = bpf_htons(0x4000),
        .ttl = 64,
        .protocol = t->udp ? IPPROTO_UDP : IPPROTO_GRE,
        .source = t->local.word[0],
        .destination = t->remote.word[0],
    };
    __u32 sum = bpf_csum_diff(0, 0, (__be32*)&ip, sizeof(ip), 0);

    ip.checksum = ~ur_fold(sum);
    return bpf_skb_store_bytes(skb, ETH_HLEN, &ip, sizeof(ip), 0);
}

static __always_inline int ur_write_ip6(struct __sk_buff* skb, const struct ur_tunnel* t,
                                        __u32 length, __u8 tos, __u32 hash) {
    struct ur_ip6 ip = {
        .first = bpf_htonl(6U << 28 | (__u32)tos << 20 | dr_flow_label(hash)),
        .payload = ur_length(length - sizeof(ip)),
        .next = t->udp ? IPPROTO_UDP : IPPROTO_GRE,
        .hop_limit = 64,
        .source = t->local,
        .destination = t->remote,
    };

    return bpf_skb_store_bytes(skb, ETH_HLEN, &ip, sizeof(ip), 0);
}

/* UDP when the tunnel has it, then GRE with key. `at`: where they start; length: from there. */
static __always_inline int ur_write_gre(struct __sk_buff* skb, const struct ur_tunnel* t, __u32 at,
                                        __u32 length, __be16 protocol, __u32 hash) {
    struct ur_gre gre = {bpf_htons(UR_GRE_KEY_PRESENT), protocol, bpf_htonl(t->id)};

    if (t->udp) {
        struct ur_udp udp = {
            .source = bpf_htons(t->entropy ? dr_flow_source_port(hash) : t->local_port),
            .destination = bpf_htons(t->remote_port),
            .length = ur_length(length),
        };

        if (bpf_skb_store_bytes(skb, at, &udp, sizeof(udp), 0)) return -1;
        at += sizeof(udp);
    }
    return bpf_skb_store_bytes(skb, at, &gre, sizeof(gre), 0);
}

/* Of the datagram at `at`, which is written and whole; never 0. */
static __always_inline int ur_write_checksum(struct __sk_buff* skb, const struct ur_tunnel* t,
                                             __u32 at, __u32 length) {
    int sum = ur_udp_sum(skb, at, length, ur_pseudo_sum(&t->local, &t->remote, length));
    __u16 checksum = sum == 0xffff ? 0xffff : ~sum;

    if (sum < 0 || skb->gso_size) return -1;
    return bpf_skb_store_bytes(skb, at + __builtin_offsetof(struct ur_udp, checksum), &checksum,
                               sizeof(checksum), 0);
}

/* 0, or not 0 when the kernel refused. The packet has an Ethernet header. */
static __always_inline int ur_encapsulate(struct __sk_buff* skb, const struct ur_tunnel* t,
                                          __u8 tos, __u32 hash, int whole) {
    __be16 inner = skb->protocol;
    __u32 ip = t->family == 6 ? sizeof(struct ur_ip6) : sizeof(struct ur_ip4);
    __u32 header = ip + sizeof(struct ur_gre) + (t->udp ? sizeof(struct ur_udp) : 0);
    __u32 length = skb->len - ETH_HLEN + header;
    __u64 flags = BPF_F_ADJ_ROOM_FIXED_GSO;

    flags |= t->family == 6 ? BPF_F_ADJ_ROOM_ENCAP_L3_IPV6 : BPF_F_ADJ_ROOM_ENCAP_L3_IPV4;
    flags |= t->udp ? BPF_F_ADJ_ROOM_ENCAP_L4_UDP : BPF_F_ADJ_ROOM_ENCAP_L4_GRE;
    if (bpf_skb_adjust_room(skb, header, BPF_ADJ_ROOM_MAC, flags)) return -1;
    if (t->family == 6 ? ur_write_ip6(skb, t, length, tos, hash)
                       : ur_write_ip4(skb, t, length, tos))
        return -1;
    if (ur_write_gre(skb, t, ETH_HLEN + ip, length - ip, inner, hash)) return -1;
    return whole && t->checksum && t->udp ? ur_write_checksum(skb, t, ETH_HLEN + ip, length - ip)
                                          : 0;
}

static __always_inline int ur_transmit(struct __sk_buff* skb, const struct ur_tunnel* t) {
    struct bpf_redir_neigh next = {.nh_family = t->next_hop_family};
    const struct ur_address* to = &t->next_hop;

    if (!next.nh_family) {
        next.nh_family = t->family == 6 ? AF_INET6 : AF_INET;
        to = &t->remote;
    }
    __builtin_memcpy(next.ipv6_nh, to->word, sizeof(next.ipv6_nh));
    skb->tc_index = UR_TUNNELLED;
    return bpf_redirect_neigh(t->ifindex, &next, sizeof(next), 0);
}

/* Of a packet of the site; false: the source is somebody else's. */
static __always_inline int ur_from_site(struct __sk_buff* skb, __u8* tos, struct ur_upper* u) {
    if (skb->protocol == bpf_htons(ETH_P_IP)) {
        struct ur_ip4 ip;

        if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip))) return 0;
        *tos = ip.tos;
        ur_upper4(&ip, ETH_HLEN, u);
        return ur_inside4(ip.source);
    } else {
        struct ur_ip6 ip;

        if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip))) return 0;
        *tos = bpf_ntohl(ip.first) >> 20;
        ur_upper6(skb, ETH_HLEN, ip.next, u);
        return ur_inside6(&ip.source);
    }
}

/* A message of the tunnel protocol, which urd has written whole; or what the kernel tells all
 * neighbours when a device comes up or gets routes, and who joins a group there may cause at any
 * time; anything else has no business here. */
static __always_inline int ur_keepalive_out(struct __sk_buff* skb) {
    static const __u8 mark[] = {UR_KEEPALIVE_MAC};
    const struct ur_tunnel* t;
    struct ethhdr eth;
    __u32 slot;

    if (bpf_skb_load_bytes(skb, 0, &eth, sizeof(eth))) return ur_drop(UrDropSiteSource);
    if (eth.h_dest[0] & 1) return ur_drop(UrIgnoredGroup);
    for (__u32 i = 0; i < sizeof(mark); i++)
        if (eth.h_dest[i] != mark[i]) return ur_drop(UrDropSiteSource);
    slot = eth.h_dest[5];
    if (slot >= UR_SLOTS) return ur_drop(UrDropSiteSource);
    t = ur_tunnel_of(slot);
    if (!t->ifindex) return ur_drop(UrDropNoTunnel);
    ur_count(UrKeepaliveUplink, 1);
    return ur_transmit(skb, t);
}

/* `whole`: a packet that is no segmentable one, with all its checksums: what a checksum over it
 * needs. What comes from the site may lack both, and passes the finisher first, a device without
 * offloads, before which the kernel does what a NIC would have to. */
static __always_inline int ur_uplink(struct __sk_buff* skb, int whole) {
    int v4 = skb->protocol == bpf_htons(ETH_P_IP);
    __u32 finisher = *(const volatile __u32*)&site.finisher;
    __u32 inner = skb->len - ETH_HLEN, segments = ur_segments(skb), hash, slot;
    struct ur_tunnel_counters* count;
    const struct ur_tunnel* t;
    struct ur_upper u = {};
    __u8 tos = 0;

    if (!v4 && skb->protocol != bpf_htons(ETH_P_IPV6)) return ur_drop(UrDropNotIp);
    if (!ur_from_site(skb, &tos, &u)) return ur_keepalive_out(skb);
    hash = v4 ? ur_hash4(skb, ETH_HLEN) : ur_hash6(skb, ETH_HLEN);
    slot = ur_choose(hash);
    if (slot >= UR_SLOTS) return ur_drop(UrDropNoTunnel);
    if (ur_moving()) ur_note_use(hash);
    t = ur_tunnel_of(slot);
    if (!t->ifindex) return ur_drop(UrDropNoTunnel);
    if (ur_wire_size(skb, &u) > t->mtu) return ur_too_large(skb, &u, t->mtu, whole);
    ur_maybe_clamp(skb, &u, v4 ? 4 : 6);
    if (!whole && t->checksum && t->udp && finisher) return bpf_redirect(finisher, 0);
    if (ur_encapsulate(skb, t, tos, hash, whole)) return ur_drop(UrDropEncapsulate);
    count = bpf_map_lookup_elem(&tunnel_counters, &slot);
    if (count) {
        count->tx_packets += segments;
        count->tx_bytes += inner;
    }
    ur_count(UrForwardedUplink, segments);
    return ur_transmit(skb, t);
}

#endif
