// The way to the kernel for what is the kernel's: ARP, ND, BGP, SSH.
// Exits: punt.kernel drop.no_kernel drop.punt_full.
#pragma once

#include <rte_ring.h>

#include "dataplane/worker/context.h"

namespace dr {

// Ends the packet: to the writer, which owns the port's TAP mirror; counted only, when the kernel
// has its own copy (af_packet); or dropped under its own name.
inline void punt(Context& c, const Burst& b, Packet& p) {
    const Port& port = (*c.ports)[b.in_port];
    if (port.exception != Port::kNoPort) {
        // Writing to a TAP is a system call, so a worker only hands over.
        p.mbuf->port = b.in_port;
        if (c.shared->punt != nullptr && rte_ring_enqueue(c.shared->punt, p.mbuf) == 0) {
            p.mbuf = nullptr;
            return exit_with(c, p, Exit::PuntKernel);
        }
        return exit_with(c, p, Exit::DropPuntFull);
    }
    exit_with(c, p, port.kind == PortKind::AfPacket ? Exit::PuntKernel : Exit::DropNoKernel);
}

}  // namespace dr
