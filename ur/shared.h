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

/* Slot = line number: 16 lines of the policy, and up to 16 that only receive. */
#define UR_SLOTS 32
#define UR_PREFIXES 64
#define UR_CLASSES 8
#define UR_BUCKETS 256
#define UR_NO_SLOT 0xff

struct ur_address {
    __u32 word[4];
};

struct ur_prefix {
    struct ur_address address;
    struct ur_address mask;
};

/* What changes while a tunnel lives: written to the inactive copy, then published. */
struct ur_path {
    __u32 ifindex;           /* of the line's device; 0: unusable */
    __u32 next_hop_family;   /* AF_INET, AF_INET6; 0: the remote end itself, on the link */
    struct ur_address local; /* our outer address */
    struct ur_address next_hop;
};

/* Everything but path and active is fixed before the programs are attached. */
struct ur_tunnel {
    __u32 id;         /* GRE key */
    __u8 family;      /* outer: 4 or 6; 0: no tunnel in this slot */
    __u8 udp;         /* 1: GRE-in-UDP */
    __u16 local_port; /* GRE-in-UDP: our fixed port; 0: entropy */
    struct ur_address remote;
    __u32 active; /* index into path; one store publishes the other copy */
    struct ur_path path[2];
};

struct ur_site {
    __u32 seed;   /* of the flow hash */
    __u32 device; /* ifindex of the tunnel device */
    __u8 device_mac[6];
    __u16 mtu;       /* largest inner packet of every tunnel */
    __u32 slots;     /* used entries of tunnel */
    __u32 prefixes4; /* used entries of prefix4 */
    __u32 prefixes6;
    struct ur_prefix prefix4[UR_PREFIXES];
    struct ur_prefix prefix6[UR_PREFIXES];
    struct ur_tunnel tunnel[UR_SLOTS];
    __u8 bucket[UR_CLASSES][UR_BUCKETS]; /* slot or UR_NO_SLOT; each byte is published by itself */
};

/* Per-CPU, by slot. Bytes are of inner packets; a GSO packet counts as its segments. */
struct ur_tunnel_counters {
    __u64 tx_packets;
    __u64 tx_bytes;
    __u64 rx_packets;
    __u64 rx_bytes;
};

enum ur_counter {
#define X(identifier, name, help) Ur##identifier,
#include "ur/counters.def"
#undef X
    UrCounters
};

#endif
