/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only
 *
 * Types, maps and small helpers of urd's programs. Only stable UAPI structures are used (no
 * kernel-internal type is read), so the object is portable without relocations and vmlinux.h.
 */
#ifndef DR_UR_BPF_BASE_H
#define DR_UR_BPF_BASE_H

/* The order matters: the helpers need the types before them. */
/* clang-format off */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
/* clang-format on */

#define DR_FLOW_HASH_TYPES
typedef __u16 dr_u16;
typedef __u32 dr_u32;
typedef __u64 dr_u64;
#include "dataplane/wire/flow_hash.h"
#include "ur/bpf/shared.h"

#define AF_INET 2
#define AF_INET6 10

#define UR_GRE_UDP_PORT 4754
#define UR_GRE_KEY_PRESENT 0x2000

/* skb->tc_index of an outer packet between the tunnel device and the line's device. */
#define UR_TUNNELLED 0x9292

/* Since Linux 6.3; older kernels refuse them, see ur_remove_outer(). */
#ifndef BPF_F_ADJ_ROOM_DECAP_L3_IPV4
#define BPF_F_ADJ_ROOM_DECAP_L3_IPV4 (1ULL << 7)
#define BPF_F_ADJ_ROOM_DECAP_L3_IPV6 (1ULL << 8)
#endif

struct ur_ip4 {
    __u8 version_ihl;
    __u8 tos;
    __be16 length;
    __be16 id;
    __be16 fragment;
    __u8 ttl;
    __u8 protocol;
    __u16 checksum;
    __be32 source;
    __be32 destination;
};

struct ur_ip6 {
    __be32 first; /* version, traffic class, flow label */
    __be16 payload;
    __u8 next;
    __u8 hop_limit;
    struct ur_address source;
    struct ur_address destination;
};

struct ur_udp {
    __be16 source;
    __be16 destination;
    __be16 length;
    __u16 checksum;
};

struct ur_gre {
    __be16 flags;
    __be16 protocol;
    __be32 key;
};

struct ur_site site;

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, UrCounters);
    __type(key, __u32);
    __type(value, __u64);
} counters SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, UR_SLOTS);
    __type(key, __u32);
    __type(value, struct ur_tunnel_counters);
} tunnel_counters SEC(".maps");

static __always_inline void ur_count(__u32 counter, __u32 packets) {
    __u64* value = bpf_map_lookup_elem(&counters, &counter);

    if (value) *value += packets;
}

static __always_inline int ur_drop(__u32 counter) {
    ur_count(counter, 1);
    return TC_ACT_SHOT;
}

/* Packets on the wire that a possibly segmentable packet stands for. */
static __always_inline __u32 ur_segments(struct __sk_buff* skb) {
    __u32 size = skb->gso_size;

    if (skb->gso_segs) return skb->gso_segs;
    return size ? (skb->len + size - 1) / size : 1;
}

static __always_inline int ur_same(const struct ur_address* a, const struct ur_address* b) {
    return a->word[0] == b->word[0] && a->word[1] == b->word[1] && a->word[2] == b->word[2] &&
           a->word[3] == b->word[3];
}

/* The Internet checksum's sum in 16 bits (RFC 1071). */
static __always_inline __u16 ur_fold(__u32 sum) {
    sum = (sum & 0xffff) + (sum >> 16);
    return (sum & 0xffff) + (sum >> 16);
}

static __always_inline const struct ur_rules* ur_rules_now(void) {
    return &site.rules[*(const volatile __u32*)&site.active_rules & 1];
}

__noinline int ur_needed4(__be32 address) {
    const struct ur_rules* rules = ur_rules_now();

    for (__u32 i = 0; i < UR_NEEDED && i < rules->needed4; i++)
        if (rules->need4[i] == address) return 1;
    return 0;
}

__noinline int ur_needed6(const struct ur_address* a) {
    const struct ur_rules* rules = ur_rules_now();

    if (!a) return 0;
    for (__u32 i = 0; i < UR_NEEDED && i < rules->needed6; i++)
        if (ur_same(&rules->need6[i], a)) return 1;
    return 0;
}

static __always_inline int ur_inside4(__be32 address) {
    const struct ur_rules* rules = ur_rules_now();

    for (__u32 i = 0; i < UR_PREFIXES && i < rules->prefixes4; i++) {
        const struct ur_prefix* p = &rules->prefix4[i];

        if ((address & p->mask.word[0]) == p->address.word[0]) return !ur_needed4(address);
    }
    return 0;
}

__noinline int ur_inside6(const struct ur_address* a) {
    const struct ur_rules* rules = ur_rules_now();

    if (!a) return 0;
    for (__u32 i = 0; i < UR_PREFIXES && i < rules->prefixes6; i++) {
        const struct ur_prefix* p = &rules->prefix6[i];

        if ((a->word[0] & p->mask.word[0]) == p->address.word[0] &&
            (a->word[1] & p->mask.word[1]) == p->address.word[1] &&
            (a->word[2] & p->mask.word[2]) == p->address.word[2] &&
            (a->word[3] & p->mask.word[3]) == p->address.word[3])
            return !ur_needed6(a);
    }
    return 0;
}

/* The row in force of a slot below UR_SLOTS. */
static __always_inline const struct ur_tunnel* ur_tunnel_of(__u32 slot) {
    const struct ur_tunnel_row* row = &site.tunnel[slot];

    return &row->copy[*(const volatile __u32*)&row->active & 1];
}

/* While traffic moves between lines, urd asks which buckets are idle. */
static __always_inline void ur_note_use(__u32 hash) {
    site.bucket_used[dr_flow_bucket(hash) & (UR_BUCKETS - 1)] = bpf_ktime_get_ns() / 1000000;
}

static __always_inline int ur_moving(void) {
    return *(const volatile __u8*)&site.moving;
}

#endif
