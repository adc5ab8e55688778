/* What the steering program and the code that fills its maps agree on. C and C++, for BPF too. */
#pragma once

#define DR_XDP_PROGRAM                                                                \
    "dr_xdp_steer"         /* also recognises a program left behind; at most 15 bytes \
                            */
#define DR_XDP_LOCALS 4096 /* own addresses */
#define DR_XDP_POOLS 65536 /* subscriber pools of each family */
#define DR_XDP_QUEUES 64

/* Map `arrived`, a u64 for each receive queue and CPU: packets that are the data plane's, counted
 * before they are handed to its socket. The watchdog compares it with what comes out there. */

/* Key of `locals`: network order; IPv4 as ::ffff:a.b.c.d. The value is not used. */
struct dr_local_key {
    unsigned char address[16];
};
/* Keys of `pools4` and `pools6`, as the kernel wants them for LPM tries. */
struct dr_pool4_key {
    unsigned int length;
    unsigned char address[4];
};
struct dr_pool6_key {
    unsigned int length;
    unsigned char address[16];
};
