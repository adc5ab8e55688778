/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only
 *
 * What urd and its eBPF programs share. Written by urd through the memory-mapped global `site`,
 * read by the programs on every CPU; the comments say how each field may change under them.
 * Addresses are in network byte order (IPv4 in the first word, the rest 0), all else in host order
 * unless said otherwise.
 */
#ifndef DR_UR_SHARED_H
#define DR_UR_SHARED_H

#include <linux/types.h>

/* A slot is a tunnel's place here for as long as urd runs; lines are numbered by the policy. */
#define UR_SLOTS 32
#define UR_PREFIXES 64
#define UR_CLASSES 8
#define UR_BUCKETS 256
#define UR_NO_SLOT 0xff
#define UR_LINES 32
#define UR_NEEDED 32

/* Keepalives pass through the tunnel device as frames between urd and the programs. Up, a whole
 * outer packet whose Ethernet destination is these 5 bytes and the slot leaves as it is over the
 * slot's device and next hop. Down, what a tunnel has received stands as it arrived behind an
 * Ethernet header with this source, the slot, and the type UR_KEEPALIVE. */
#define UR_KEEPALIVE 0x88b5
#define UR_KEEPALIVE_MAC 0x06, 0x44, 0x52, 0x4b, 0x41

struct ur_address {
    __u32 word[4];
};

struct ur_prefix {
    struct ur_address address;
    struct ur_address mask;
};

/* A row is never edited while it is read: the other copy is written, then published. */
struct ur_tunnel {
    __u32 id;          /* GRE key */
    __u8 family;       /* outer: 4 or 6; 0: no tunnel in this slot */
    __u8 udp;          /* 1: GRE-in-UDP */
    __u8 keepalive;    /* 1: messages go to urd */
    __u8 entropy;      /* GRE-in-UDP: source ports carry the flow's entropy, in both directions */
    __u16 local_port;  /* GRE-in-UDP: where packets to us go; source port unless entropy */
    __u16 remote_port; /* GRE-in-UDP */
    __u16 either;      /* 1: packets of the other encapsulation are the tunnel's too */
    __u16 checksum;    /* GRE-in-UDP; 1: right UDP checksums, else 0 */
    __u32 mtu;         /* largest inner packet */
    struct ur_address remote;
    __u32 ifindex;           /* of the line's device; 0: unusable */
    __u32 next_hop_family;   /* AF_INET, AF_INET6; 0: the remote end itself, on the link */
    struct ur_address local; /* our outer address */
    struct ur_address next_hop;
};

struct ur_tunnel_row {
    __u32 active; /* index into copy; one store publishes the other one */
    struct ur_tunnel copy[2];
};

/* What concerns the whole site; published in the same way. */
struct ur_rules {
    __u32 seed;      /* of the flow hash */
    __u32 mtu;       /* largest inner packet of every tunnel */
    __u32 prefixes4; /* used entries of prefix4 */
    __u32 prefixes6;
    struct ur_address own6; /* from which the router's ICMPv6 errors come; 0: there is none */
    __u32 needed4;          /* used entries of need4 */
    __u32 needed6;
    /* Addresses inside prefixes that are left out, which the lines or signalling cannot do
     * without: they count as outside. */
    __u32 need4[UR_NEEDED];
    struct ur_address need6[UR_NEEDED];
    struct ur_prefix prefix4[UR_PREFIXES];
    struct ur_prefix prefix6[UR_PREFIXES];
};

struct ur_site {
    __u32
        device; /* ifindex of the tunnel device; it and the address change when it is made again */
    __u8 device_mac[6];
    __u8 moving;        /* 1: the programs note when each bucket is used */
    __u8 breakout;      /* 1: what is not the site's may leave on a line (--local-breakout) */
    __u32 finisher;     /* ifindex of the device behind which packets are whole; 0: none */
    __u32 slots;        /* entries of tunnel that were ever used; only grows */
    __u32 active_rules; /* index into rules */
    struct ur_rules rules[2];
    struct ur_tunnel_row tunnel[UR_SLOTS];
    __u8 bucket[UR_CLASSES][UR_BUCKETS]; /* slot or UR_NO_SLOT; each byte is published by itself */
    __u32 line[UR_LINES];          /* ifindexes of the lines' devices, 0: none; each by itself */
    __u32 bucket_used[UR_BUCKETS]; /* ms of CLOCK_MONOTONIC, written by the programs */
};

/* Per-CPU, by slot. Bytes are of inner packets; a GSO packet counts as its segments. */
struct ur_tunnel_counters {
    __u64 tx_packets;
    __u64 tx_bytes;
    __u64 rx_packets;
    __u64 rx_bytes;
    __u64 rx_arrived; /* data packets that came out of the tunnel, whatever became of them */
};

enum ur_counter {
#define X(identifier, name, help) Ur##identifier,
#include "ur/bpf/counters.def"
#undef X
    UrCounters
};

#endif
