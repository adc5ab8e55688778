// Sources of ICMP errors, and what the steering programs are told.
#include "dataplane/addresses.h"

#include <fmt/format.h>

#include <array>
#include <cstdio>
#include <cstring>

namespace dr {

void Addresses::publish(const NetlinkMirror* mirror, std::uint16_t ports,
                        WorkerShared& shared) const {
    std::vector<OwnAddress> own = static_;
    if (mirror != nullptr)
        for (const OwnAddress& address : mirror->addresses()) own.push_back(address);
    for (std::uint16_t port = 0; port < ports; ++port) {
        WorkerShared::PortAddresses& sources = shared.addresses[port];
        const IpAddress source4 = error_source(own, port, 4);
        const IpAddress source6 = error_source(own, port, 6);
        std::uint32_t word{};
        std::memcpy(&word, source4.bytes.data(), sizeof word);
        sources.ipv4.store(word, std::memory_order_relaxed);
        std::array<std::uint64_t, 2> words{};
        std::memcpy(words.data(), source6.bytes.data(), sizeof words);
        for (unsigned i = 0; i < words.size(); ++i)
            sources.ipv6[i].store(words[i], std::memory_order_relaxed);
    }
}

void Addresses::steer(const NetlinkMirror* mirror, const southbound::TableWriter& writer,
                      SteeringMaps& maps) {
    bool room = true;
    const std::uint64_t locals = mirror != nullptr ? mirror->locals_generation() : 1;
    if (locals != locals_seen_) {
        locals_seen_ = locals;
        std::vector<IpAddress> addresses;
        for (const OwnAddress& own : static_) addresses.push_back(own.address);
        if (mirror != nullptr)
            for (const IpAddress& address : mirror->locals()) addresses.push_back(address);
        room = maps.set_locals(addresses);
    }
    if (writer.pools_generation() != pools_seen_ || writer.synced() != synced_seen_) {
        pools_seen_ = writer.pools_generation();
        synced_seen_ = writer.synced();
        const std::vector<IpPrefix> prefixes = writer.steered();
        // What a killed run had is kept until drd has sent all that there is.
        room = maps.set_pools(prefixes, !synced_seen_) && room;
    }
    if (!room && !full_)
        fmt::print(stderr,
                   "dr-dataplane: error: the steering program's maps are full: some pools or "
                   "own addresses stay with the kernel\n");
    full_ = !room;
}

}  // namespace dr
