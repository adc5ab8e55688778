// What of the running site follows the path MTUs of its tunnels, and the ICMP errors that hint at
// them (proto/TUNNEL.md §15).
#include <algorithm>

#include "ur/log.h"
#include "ur/router.h"
#include "ur/site.h"

namespace dr::ur {

namespace {

// ICMP errors that are read before keepalives have their turn again.
constexpr unsigned kTurn = 128;

}  // namespace

// The device takes what a line does: probes pass through it with their outer headers on. The site's
// own packets are held to what its tunnels carry by the routes.
void Router::set_device_mtu() {
    const unsigned wanted = config_.outer_mtu();
    if (device_mtu_ == wanted) return;
    netlink_.set_mtu(tap_.index(), wanted);
    device_mtu_ = wanted;
    routing_.renew();
}

std::uint16_t Router::mtu_of(const Tunnel& tunnel) const {
    const auto place = places_.find(tunnel.slot);
    const std::uint16_t found = place == places_.end() ? std::uint16_t{0} : place->second.mtu;
    return found != 0 ? std::min(found, tunnel.mtu) : tunnel.mtu;
}

ur_rules Router::rules() const {
    ur_rules out = make_rules(config_, unused_, needed_);
    if (mtu_ != 0) out.mtu = mtu_;
    out.own6 = to_words(error_source_.address(6));
    return out;
}

// Of the tunnels that carry something; of all while none does.
void Router::follow_path_mtu() {
    std::uint16_t least = 0;
    for (const auto& tunnel : config_.tunnels) {
        if (!carries(tunnel)) continue;
        const std::uint16_t mtu = mtu_of(tunnel);
        least = least == 0 ? mtu : std::min(least, mtu);
    }
    if (least == 0 && mtu_ != 0) return;
    mtu_ = least != 0 ? least : config_.mtu();
    datapath_.set_rules(rules());
    try {
        routing_.set_mtu(mtu_);
    } catch (const std::exception& e) {
        say("warning: MTU %u: %s", unsigned{mtu_}, e.what());
    }
}

void Router::path_mtu(unsigned slot, std::uint16_t mtu) {
    const auto place = places_.find(slot);
    if (place == places_.end()) return;
    place->second.mtu = mtu;
    if (const Tunnel* tunnel = find(slot); tunnel != nullptr) publish(*tunnel);
    follow_path_mtu();
}

// What a flood of them leaves over has its turn in the next round; of a tunnel one a second counts.
void Router::take_hints() {
    for (IcmpSocket& socket : icmp_) {
        const auto hint = socket.receive(kTurn);
        if (!hint) continue;
        for (const auto& tunnel : config_.tunnels)
            if (is_about(*hint, datapath_.tunnel(tunnel.slot)))
                keepalives_.hint(now(), tunnel.slot, hint->mtu);
    }
}

}  // namespace dr::ur
