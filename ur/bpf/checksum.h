/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only
 *
 * UDP checksums of whole datagrams (RFC 768, RFC 8200 §8.1).
 */
#ifndef DR_UR_BPF_CHECKSUM_H
#define DR_UR_BPF_CHECKSUM_H

#include "ur/bpf/base.h"

/* A piece of a datagram, and what fills it up to words. */
#define UR_PIECE 512
#define UR_UDP_PIECES 18 /* of lines with an MTU of up to 9000 bytes */

struct ur_scratch {
    __u8 bytes[UR_PIECE + 4];
};

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct ur_scratch);
} scratch SEC(".maps");

/* The folded sum of the datagram at `at`, taken in pieces; `sum` is the pseudo header's. -1: it is
 * not there, or is too large. */
__noinline int ur_udp_sum(struct __sk_buff* skb, __u32 at, __u32 length, __u32 sum) {
    const __u32 zero = 0;
    struct ur_scratch* piece = bpf_map_lookup_elem(&scratch, &zero);

    if (!piece || length >= UR_UDP_PIECES * UR_PIECE) return -1;
    for (__u32 i = 0; i < UR_UDP_PIECES && length >= UR_PIECE; i++) {
        if (bpf_skb_load_bytes(skb, at, piece->bytes, UR_PIECE)) return -1;
        sum = bpf_csum_diff(0, 0, (__be32*)piece->bytes, UR_PIECE, sum);
        at += UR_PIECE;
        length -= UR_PIECE;
    }
    if (length) {
        /* One less, masked, and one more: bounds from 1, which the verifier sees so. */
        length--;
        asm volatile("%0 &= 511" : "+r"(length));
        length++;
        if (bpf_skb_load_bytes(skb, at, piece->bytes, length)) return -1;
        __builtin_memset(piece->bytes + length, 0, 3);
        sum = bpf_csum_diff(0, 0, (__be32*)piece->bytes, (length + 3) & ~3U, sum);
    }
    return ur_fold(sum);
}

/* Of a UDP datagram of this length between two addresses, whose unused words are 0. */
static __always_inline __u32 ur_pseudo_sum(const struct ur_address* source,
                                           const struct ur_address* destination, __u16 length) {
    __be32 end[2] = {bpf_htonl(length), bpf_htonl(IPPROTO_UDP)};
    __u32 sum = bpf_csum_diff(0, 0, (__be32*)source->word, sizeof(*source), 0);

    sum = bpf_csum_diff(0, 0, (__be32*)destination->word, sizeof(*destination), sum);
    return bpf_csum_diff(0, 0, end, sizeof(end), sum);
}

#endif
