// Gives the tunnel device an address of the site's.
#include "ur/error_source.h"

#include <algorithm>
#include <initializer_list>
#include <utility>

namespace dr::ur {

ErrorSource::ErrorSource(Netlink& netlink, int device, std::string lan,
                         std::function<bool(int)> foreign)
    : netlink_(netlink), device_(device), lan_(std::move(lan)), foreign_(std::move(foreign)) {}

void ErrorSource::update() {
    std::vector<OwnAddress> own = netlink_.addresses();
    std::erase_if(own, [this](const auto& a) { return foreign_(a.index); });
    const auto ours = std::stable_partition(own.begin(), own.end(),
                                            [this](const auto& a) { return a.index != device_; });
    const auto link = lan_.empty() ? std::nullopt : netlink_.link(lan_);
    for (const std::uint8_t family : std::initializer_list<std::uint8_t>{4, 6}) {
        const IpAddress wanted =
            pick_error_source(family, prefixes_, {own.begin(), ours}, link ? link->index : 0);
        const bool there =
            std::any_of(ours, own.end(), [&](const auto& a) { return a.address == wanted; });
        put(family, wanted, there);
    }
}

void ErrorSource::put(std::uint8_t family, const IpAddress& wanted, bool there) {
    IpAddress& now = now_[family];
    // The new one first: there is always one to take.
    if (wanted.family != 0 && !there) netlink_.add_address(device_, wanted);
    // The kernel may make the route only a moment after the address.
    if (wanted.family != 0) netlink_.remove_local_route(device_, wanted);
    if (now.family != 0 && now != wanted) netlink_.remove_address(device_, now);
    now = wanted;
}

}  // namespace dr::ur
