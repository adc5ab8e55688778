/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/* Steering on a port that the kernel keeps (AF_XDP): what is the data plane's goes to its socket,
 * all else stays with the kernel.
 *
 *   to an own address (`locals`): GRE, UDP with destination port 4754, fragments that may be of
 *       these, ICMP and ICMPv6 errors about packets of these   -> data plane
 *   to an own address, anything else (BGP, SSH, ping, ND)       -> kernel
 *   to a subscriber pool (`pools4`, `pools6`)                   -> data plane
 *   anything else, frames of VLANs included                     -> kernel
 *
 * A tag of VLAN 0 is a priority alone (IEEE 802.1Q section 9.6), and is looked behind. The kernel
 * looks behind any number of them, but nobody has a use for a second one: a frame with several is
 * dropped if it is the data plane's. A tag that the device has taken out of the frame cannot be
 * seen here: rx_vlan.h has the device leave it in.
 *
 * Own addresses are looked up first, so an own address inside a pool keeps its kernel.
 *
 * Fragments: the protocol is known in each fragment, the port only in the first. So every fragment
 * of GRE and of UDP to an own address goes to the data plane, where it is counted and dropped
 * (tunnels do not reassemble); a fragmented UDP datagram for another service on such an address is
 * lost. TCP and ICMP fragments stay with the kernel.
 *
 * With no data plane reading, the socket map is empty and these packets are dropped. They never
 * fall through to the kernel, which would route packets for a pool back to where they came from.
 *
 * With no program attached at all, for the moment in which a new data plane replaces the program of
 * a killed one, DR_TC_GUARD makes of the same rules a program for tc that only drops
 * (takeover_guard.h).
 *
 * Limits, for the verifier's sake: up to 6 IPv6 extension headers; a packet with more stays with
 * the kernel when it is for an own address. Up to 4 tags of VLAN 0; a frame with more is dropped.
 */
#include "dataplane/ports/xdp_steer.h"

/* In this order: bpf_helpers.h stands on linux/bpf.h. */
/* clang-format off */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
/* clang-format on */

#define GRE_UDP_PORT 4754 /* RFC 8086 section 8 */
#define MAX_EXTENSIONS 6
#define MAX_TAGS 4
#define VLAN_ID 0x0fff

#define PROTO_ICMP 1
#define PROTO_UDP 17
#define PROTO_GRE 47
#define PROTO_ICMP6 58

struct {
    __uint(type, BPF_MAP_TYPE_XSKMAP);
    __uint(max_entries, DR_XDP_QUEUES);
    __type(key, __u32);
    __type(value, __u32);
} xsks_map SEC(".maps"); /* the name that the poll-mode driver looks for */

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, DR_XDP_LOCALS);
    __type(key, struct dr_local_key);
    __type(value, __u8);
} locals SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_LPM_TRIE);
    __uint(max_entries, DR_XDP_POOLS);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, struct dr_pool4_key);
    __type(value, __u8);
} pools4 SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_LPM_TRIE);
    __uint(max_entries, DR_XDP_POOLS);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, struct dr_pool6_key);
    __type(value, __u8);
} pools6 SEC(".maps");

struct vlan {
    __be16 control, type;
};
struct ipv4 {
    __u8 version_ihl, tos;
    __be16 total_length, id, fragment;
    __u8 ttl, protocol;
    __be16 checksum;
    __u8 source[4], destination[4];
};
struct ipv6 {
    __be32 version_class_flow;
    __be16 payload_length;
    __u8 next_header, hop_limit;
    __u8 source[16], destination[16];
};
struct udp {
    __be16 source, destination, length, checksum;
};
struct extension {
    __u8 next_header, length;
    __be16 fragment; /* of a fragment header: offset, reserved, more */
};
struct icmp_error {
    __u8 type, code;
    __be16 checksum;
    __u32 rest;
};

/* A packet that we sent as a tunnel packet, as quoted in an ICMP error. Eight bytes of its payload
 * are always there (RFC 792, RFC 4443), so both UDP ports are. Ours has 4754 on one side at least.
 */
static __always_inline int quotes_tunnel(__u8 protocol, void* l4, void* end) {
    struct udp* udp = l4;
    if (protocol == PROTO_GRE) return 1;
    if (protocol != PROTO_UDP || (void*)(udp + 1) > end) return 0;
    return udp->destination == bpf_htons(GRE_UDP_PORT) || udp->source == bpf_htons(GRE_UDP_PORT);
}

static __always_inline int icmp4_about_tunnel(void* l4, void* end) {
    struct icmp_error* error = l4;
    struct ipv4* quoted = (void*)(error + 1);
    __u32 length;
    if ((void*)(quoted + 1) > end) return 0;
    /* destination unreachable, time exceeded, parameter problem */
    if (error->type != 3 && error->type != 11 && error->type != 12) return 0;
    length = (quoted->version_ihl & 15u) * 4u;
    if (length < sizeof(*quoted)) return 0;
    return quotes_tunnel(quoted->protocol, (void*)quoted + length, end);
}

/* We send no extension headers outside of tunnels, so a quoted one is not ours. */
static __always_inline int icmp6_about_tunnel(void* l4, void* end) {
    struct icmp_error* error = l4;
    struct ipv6* quoted = (void*)(error + 1);
    if ((void*)(quoted + 1) > end) return 0;
    if (error->type < 1 || error->type > 4) return 0;
    return quotes_tunnel(quoted->next_header, quoted + 1, end);
}

static __always_inline int is_tunnel(__u8 protocol, int fragment, void* l4, void* end) {
    struct udp* udp = l4;
    switch (protocol) {
        case PROTO_GRE:
            return 1;
        case PROTO_UDP:
            if (fragment) return 1;
            return (void*)(udp + 1) <= end && udp->destination == bpf_htons(GRE_UDP_PORT);
        case PROTO_ICMP:
            return !fragment && icmp4_about_tunnel(l4, end);
        default:
            return 0;
    }
}

/* Not 0: the data plane's. */
static __always_inline int steer4(struct ipv4* ip, void* end) {
    struct dr_local_key local = {};
    struct dr_pool4_key pool = {.length = 32};
    __u32 length;
    if ((void*)(ip + 1) > end) return 0;
    local.address[10] = local.address[11] = 0xff;
    __builtin_memcpy(local.address + 12, ip->destination, 4);
    if (bpf_map_lookup_elem(&locals, &local)) {
        length = (ip->version_ihl & 15u) * 4u;
        if (length < sizeof(*ip)) return 0;
        return is_tunnel(ip->protocol, (ip->fragment & bpf_htons(0x3fff)) != 0, (void*)ip + length,
                         end);
    }
    __builtin_memcpy(pool.address, ip->destination, 4);
    return bpf_map_lookup_elem(&pools4, &pool) != 0;
}

/* What follows the extension headers of a packet for an own address. */
static __always_inline int tunnel6(struct ipv6* ip, void* end) {
    void* at = ip + 1;
    __u8 protocol = ip->next_header;
#pragma unroll
    for (int i = 0; i < MAX_EXTENSIONS; ++i) {
        struct extension* header = at;
        /* hop-by-hop, routing, fragment, destination options */
        if (protocol != 0 && protocol != 43 && protocol != 44 && protocol != 60) break;
        if ((void*)(header + 1) > end) return 0;
        if (protocol == 44) {
            /* An atomic fragment (RFC 6946) is whole. */
            if (header->fragment & bpf_htons(0xfff9)) {
                protocol = header->next_header;
                return protocol == PROTO_GRE || protocol == PROTO_UDP;
            }
            at += 8;
        } else {
            at += (header->length + 1u) * 8u;
        }
        protocol = header->next_header;
    }
    if (protocol == PROTO_ICMP) return 0; /* ICMP of IPv4 has no business here */
    if (protocol == PROTO_ICMP6) return icmp6_about_tunnel(at, end);
    return is_tunnel(protocol, 0, at, end);
}

static __always_inline int steer6(struct ipv6* ip, void* end) {
    struct dr_local_key local;
    struct dr_pool6_key pool = {.length = 128};
    if ((void*)(ip + 1) > end) return 0;
    __builtin_memcpy(local.address, ip->destination, 16);
    if (bpf_map_lookup_elem(&locals, &local)) return tunnel6(ip, end);
    __builtin_memcpy(pool.address, ip->destination, 16);
    return bpf_map_lookup_elem(&pools6, &pool) != 0;
}

enum whose { KERNELS, DATA_PLANES, NOBODYS };

static __always_inline int is_tag(__be16 type) {
    return type == bpf_htons(ETH_P_8021Q) || type == bpf_htons(ETH_P_8021AD);
}

static __always_inline enum whose whose_is(void* data, void* end) {
    struct ethhdr* ethernet = data;
    void* at = ethernet + 1;
    int tags = 0, ours = 0;
    __be16 type;
    if (at > end) return KERNELS;
    type = ethernet->h_proto;
#pragma unroll
    for (int i = 0; i < MAX_TAGS; ++i) {
        struct vlan* tag = at;
        if (!is_tag(type)) break;
        if ((void*)(tag + 1) > end || (tag->control & bpf_htons(VLAN_ID)) != 0) return KERNELS;
        type = tag->type;
        at = tag + 1;
        ++tags;
    }
    if (is_tag(type)) {
        struct vlan* tag = at;
        if ((void*)(tag + 1) > end || (tag->control & bpf_htons(VLAN_ID)) != 0) return KERNELS;
        return NOBODYS;
    }
    if (type == bpf_htons(ETH_P_IP)) ours = steer4(at, end);
    if (type == bpf_htons(ETH_P_IPV6)) ours = steer6(at, end);
    if (!ours) return KERNELS;
    return tags > 1 ? NOBODYS : DATA_PLANES;
}

#ifdef DR_TC_GUARD

#define GUARD_HEADERS 256 /* bytes from the start that the rules may look at */

SEC("tc")
int dr_tc_guard(struct __sk_buff* skb) {
    __u32 length = skb->len < GUARD_HEADERS ? skb->len : GUARD_HEADERS;
    /* The kernel has taken a tag out of the frame already. */
    if (skb->vlan_present && (skb->vlan_tci & VLAN_ID) != 0) return TC_ACT_UNSPEC;
    if (bpf_skb_pull_data(skb, length) != 0) return TC_ACT_SHOT;
    return whose_is((void*)(long)skb->data, (void*)(long)skb->data_end) == KERNELS ? TC_ACT_UNSPEC
                                                                                   : TC_ACT_SHOT;
}

#else

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, DR_XDP_QUEUES);
    __type(key, __u32);
    __type(value, __u64);
} arrived SEC(".maps");

SEC("xdp")
int dr_xdp_steer(struct xdp_md* ctx) {
    __u32 queue = ctx->rx_queue_index;
    enum whose whose = whose_is((void*)(long)ctx->data, (void*)(long)ctx->data_end);
    __u64* count;
    if (whose == KERNELS) return XDP_PASS;
    if (whose == NOBODYS) return XDP_DROP;
    count = bpf_map_lookup_elem(&arrived, &queue);
    if (count) *count += 1;
    return (int)bpf_redirect_map(&xsks_map, ctx->rx_queue_index, XDP_DROP);
}

#endif

char LICENSE[] SEC("license") = "Dual BSD/GPL";
