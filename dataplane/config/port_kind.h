// What a port is: a NIC, or one of the devices of tests and benchmarks.
#pragma once

#include <cstdint>

namespace dr {

enum class PortKind : std::uint8_t { AfXdp, AfPacket, Pcap, Null, Ring, Tap, Memif, Pci };

}  // namespace dr
