// Which tunnels a swarm has. Read from a text file, one tunnel a line, fields apart by blanks:
//
//   SITE LINE ID KEY_NUMBER KEY PROFILE UR_ADDRESS UR_PORT DR_ADDRESS
//
// SITE: number from 0, rising without gaps; LINE: number as in keepalives; ID: the GRE key; KEY: 64
// hex digits; PROFILE: fixed, mobile, satellite or metered; UR_PORT: 0 for native GRE. Site n has
// the /29 number n of 100.128.0.0/9.
#pragma once

#include <cstdint>
#include <istream>
#include <string>
#include <vector>

#include "dataplane/liveness/engine.h"

namespace dr::swarm {

inline constexpr std::uint32_t kSites = 0x64800000;          // 100.128.0.0
inline constexpr std::uint32_t kSiteAddresses = 8;           // of a /29
inline constexpr std::uint32_t kMostSites = 0x800000U / 8U;  // of a /9
inline constexpr std::uint32_t kInternetHost = 0xc6120001;   // 198.18.0.1

struct FleetTunnel {
    std::uint32_t site = 0;
    std::uint8_t line = 0;
    std::uint32_t id = 0;
    liveness::TunnelKey key;
    liveness::ProfileId profile{};
    wire::Endpoint ur;
    wire::Endpoint dr;
};

struct Fleet {
    std::vector<FleetTunnel> tunnels;
    std::uint32_t sites = 0;
};

// false: *error says which line of the file is wrong, and what would be right.
bool read_fleet(std::istream& in, Fleet* fleet, std::string* error);

}  // namespace dr::swarm
