// Picks the address from which ICMP errors come.
#include <algorithm>

#include "ur/error_source.h"

namespace dr::ur {

IpAddress pick_error_source(std::uint8_t family, std::span<const IpPrefix> prefixes,
                            std::span<const OwnAddress> own, int lan) {
    IpAddress any;
    for (const auto& candidate : own) {
        const bool fits = candidate.address.family == family &&
                          std::any_of(prefixes.begin(), prefixes.end(), [&](const auto& prefix) {
                              return prefix.contains(candidate.address);
                          });
        if (!fits) continue;
        if (lan != 0 && candidate.index == lan) return candidate.address;
        if (any.family == 0) any = candidate.address;
    }
    if (any.family != 0) return any;
    for (const auto& prefix : prefixes)
        if (prefix.address.family == family) return prefix.address;
    return {};
}

}  // namespace dr::ur
