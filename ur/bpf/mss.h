/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only
 *
 * TCP MSS clamp: a SYN's MSS option is lowered to what fits the tunnels without fragments.
 */
#ifndef DR_UR_BPF_MSS_H
#define DR_UR_BPF_MSS_H

#include "ur/bpf/flow.h"

#define UR_TCP_CHECKSUM 16
#define UR_TCP_SYN 2

static __always_inline void ur_lower_mss(struct __sk_buff* skb, __u32 tcp, __u32 at, __u16 limit) {
    __be16 old, new = bpf_htons(limit);

    if (bpf_skb_load_bytes(skb, at, &old, sizeof(old)) || bpf_ntohs(old) <= limit) return;
    /* At an odd offset the value lies across two checksum words. */
    if ((at - tcp) & 1)
        bpf_l4_csum_replace(skb, tcp + UR_TCP_CHECKSUM,
                            bpf_htons(bpf_ntohs(old) << 8 | bpf_ntohs(old) >> 8),
                            bpf_htons(limit << 8 | limit >> 8), 2);
    else
        bpf_l4_csum_replace(skb, tcp + UR_TCP_CHECKSUM, old, new, 2);
    bpf_skb_store_bytes(skb, at, &new, sizeof(new), 0);
}

/* The walk visits every offset in turn and acts on those where an option starts: so the verifier
 * sees one state an offset, not one a combination of options. */
__noinline int ur_clamp_mss(struct __sk_buff* skb, __u32 tcp, __u32 limit) {
    __u8 head[14];
    __u8 option[2];
    __u32 next = 20, end;

    if (bpf_skb_load_bytes(skb, tcp, head, sizeof(head)) || !(head[13] & UR_TCP_SYN)) return 0;
    end = (head[12] >> 4) * 4;
    for (__u32 at = 20; at <= 56; at++) {
        if (at != next) continue;
        if (at + 4 > end || bpf_skb_load_bytes(skb, tcp + at, option, sizeof(option))) return 0;
        if (option[0] == 0 || (option[0] != 1 && option[1] < 2)) return 0;
        if (option[0] == 2 && option[1] == 4) {
            ur_lower_mss(skb, tcp, tcp + at + 2, limit);
            return 0;
        }
        next = at + (option[0] == 1 ? 1 : option[1]);
    }
    return 0;
}

/* For the packet whose upper-layer header is u. */
static __always_inline void ur_maybe_clamp(struct __sk_buff* skb, const struct ur_upper* u,
                                           __u32 family) {
    if (u->protocol == IPPROTO_TCP && !u->later)
        ur_clamp_mss(skb, u->offset, ur_rules_now()->mtu - (family == 4 ? 40 : 60));
}

#endif
