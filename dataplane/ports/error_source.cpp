// Chooses the source address of ICMP errors.
#include "dataplane/ports/error_source.h"

#include <utility>

namespace dr {

namespace {

bool stays_on_link(const IpAddress& a) {
    if (a.family == 4) return a.bytes[0] == 169 && a.bytes[1] == 254;
    return a.bytes[0] == 0xfe && (a.bytes[1] & 0xc0) == 0x80;
}

bool is_private(const IpAddress& a) {
    const unsigned second = a.bytes[1];
    if (a.family == 4)
        return a.bytes[0] == 10 || (a.bytes[0] == 172 && (second & 0xf0) == 16) ||
               (a.bytes[0] == 192 && second == 168) || (a.bytes[0] == 100 && (second & 0xc0) == 64);
    return (a.bytes[0] & 0xfe) == 0xfc || (a.bytes[0] == 0xfe && (second & 0xc0) == 0xc0);
}

// The lower, the better.
std::pair<bool, unsigned> rank(const OwnAddress& own, std::uint16_t port) {
    const unsigned place = own.port == port ? 0 : own.loopback ? 1 : own.port ? 2 : 3;
    return {is_private(own.address), place};
}

}  // namespace

IpAddress error_source(const std::vector<OwnAddress>& own, std::uint16_t port, unsigned family) {
    const OwnAddress* best = nullptr;
    for (const OwnAddress& candidate : own) {
        const IpAddress& address = candidate.address;
        if (address.family != family || stays_on_link(address)) continue;
        if (best == nullptr || rank(candidate, port) < rank(*best, port)) best = &candidate;
    }
    return best == nullptr ? IpAddress{} : best->address;
}

}  // namespace dr
