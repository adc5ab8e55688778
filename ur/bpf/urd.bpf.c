// SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only
//
// urd's data path, clsact programs:
//
//   site ── kernel routing ──> tunnel device, egress: urd_uplink ──> line's device ── DR
//   site <── kernel routing <── tunnel device <── line's device, ingress: urd_downlink*
//   where UDP checksums are needed: urd_uplink ──> finisher ──> urd_uplink_whole ── DR
//   all that leaves ── line's device, egress: urd_line_out*
//   plain packets ── device below a line's, ingress: urd_below*
//
// The kernel does TTL, ICMP errors, fragmentation and path MTU, because to it the tunnel device is
// an interface with the tunnels' MTU. The tunnel device is Ethernet without ARP, so that both
// directions work with the same helpers on lines with and without a link header.
#include "ur/bpf/decapsulate.h"
#include "ur/bpf/encapsulate.h"

SEC("tc")
int urd_uplink(struct __sk_buff* skb) {
    return ur_uplink(skb, 0);
}

/* At the far end of the finisher. */
SEC("tc")
int urd_uplink_whole(struct __sk_buff* skb) {
    return ur_uplink(skb, 1);
}

SEC("tc")
int urd_downlink(struct __sk_buff* skb) {
    return ur_downlink(skb, ETH_HLEN);
}

/* For lines without a link header, PPP for instance. */
SEC("tc")
int urd_downlink_raw(struct __sk_buff* skb) {
    return ur_downlink(skb, 0);
}

SEC("tc")
int urd_below(struct __sk_buff* skb) {
    return ur_below(skb, ETH_HLEN);
}

SEC("tc")
int urd_below_raw(struct __sk_buff* skb) {
    return ur_below(skb, 0);
}

SEC("tc")
int urd_line_out(struct __sk_buff* skb) {
    return ur_line_out(skb, ETH_HLEN);
}

SEC("tc")
int urd_line_out_raw(struct __sk_buff* skb) {
    return ur_line_out(skb, 0);
}

/* Never attached: the tunnel that urd_uplink would choose, for BPF_PROG_TEST_RUN. */
SEC("tc")
int urd_choice(struct __sk_buff* skb) {
    __u32 hash =
        skb->protocol == bpf_htons(ETH_P_IP) ? ur_hash4(skb, ETH_HLEN) : ur_hash6(skb, ETH_HLEN);

    skb->cb[0] = hash;
    return ur_choose(hash);
}

char _license[] SEC("license") = "Dual BSD/GPL";
