/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only
 *
 * The flow hash and the entropy derived from it, exactly as proto/TUNNEL.md §3 publishes them.
 * Plain C without any include of its own, because the same text is compiled into dr-dataplane, urd
 * and urd's eBPF program: define dr_u16, dr_u32, dr_u64 before including it from eBPF.
 *
 * Symmetric: exchanging source and destination (address and port together) gives the same hash.
 */
#ifndef DR_WIRE_FLOW_HASH_H
#define DR_WIRE_FLOW_HASH_H

#ifndef DR_FLOW_HASH_TYPES
#define DR_FLOW_HASH_TYPES
#include <stdint.h>
/* This text is C as well. NOLINTBEGIN(modernize-use-using) */
typedef uint16_t dr_u16;
typedef uint32_t dr_u32;
typedef uint64_t dr_u64;
/* NOLINTEND(modernize-use-using) */
#endif

#define DR_HASH_K0 0x9e3779b97f4a7c15ULL
#define DR_HASH_K1 0xbf58476d1ce4e5b9ULL
#define DR_HASH_K2 0x94d049bb133111ebULL
#define DR_HASH_K3 0xd6e8feb86659fd93ULL

/* Buckets of a map. */
#define DR_BUCKETS 256

/* One end of an IPv4 flow. address and port: host order. port 0 when ports are not used. */
static inline dr_u64 dr_flow_end4(dr_u32 address, dr_u16 port) {
    return ((dr_u64)address << 16) | port;
}

/* One end of an IPv6 flow. hi, lo: the address's first and last 8 bytes as big-endian numbers. */
static inline dr_u64 dr_flow_end6(dr_u64 hi, dr_u64 lo, dr_u16 port) {
    dr_u64 e = (hi ^ DR_HASH_K3) * DR_HASH_K0;

    e ^= e >> 32;
    e = (e + lo) * DR_HASH_K1;
    e ^= e >> 29;
    return e + port;
}

/* The hash of a flow: ends in any order, the upper-layer protocol number, the subscriber's seed. */
static inline dr_u32 dr_flow_hash(dr_u64 end_a, dr_u64 end_b, dr_u32 protocol, dr_u32 seed) {
    dr_u64 low = end_a < end_b ? end_a : end_b;
    dr_u64 high = end_a < end_b ? end_b : end_a;
    dr_u64 h = (((dr_u64)seed << 8) | (protocol & 0xff)) * DR_HASH_K0;

    h = (h ^ low) * DR_HASH_K1;
    h ^= h >> 32;
    h = (h ^ high) * DR_HASH_K2;
    h ^= h >> 29;
    h *= DR_HASH_K3;
    return (dr_u32)(h >> 32);
}

/* Bucket, entropy source port (RFC 8086 §3.2.1) and IPv6 flow label (RFC 6438) of a hash. */
static inline dr_u32 dr_flow_bucket(dr_u32 hash) {
    return hash >> 24;
}

static inline dr_u16 dr_flow_source_port(dr_u32 hash) {
    return (dr_u16)(49152 + (hash & 0x3fff));
}

static inline dr_u32 dr_flow_label(dr_u32 hash) {
    return hash & 0xfffff;
}

/* The seed of a subscriber that has none configured: FNV-1a (32 bits) of its name's bytes. */
static inline dr_u32 dr_flow_default_seed(const char* name, dr_u32 length) {
    dr_u32 h = 2166136261U;

    for (dr_u32 i = 0; i < length; i++) h = (h ^ (unsigned char)name[i]) * 16777619U;
    return h;
}

#endif
