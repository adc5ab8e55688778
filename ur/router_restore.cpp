// What somebody else takes away of ours in the kernel, and how it is put back.
#include <net/if.h>

#include <algorithm>
#include <array>
#include <stdexcept>
#include <utility>

#include "ur/log.h"
#include "ur/router.h"

namespace dr::ur {

namespace {

// What is urd's in the kernel is looked at so often, and after a change once in so long a pause.
constexpr liveness::Time kInterval = liveness::kSecond;
constexpr liveness::Time kPause = 200 * liveness::kMillisecond;
// Looks that put something back follow each other after a pause so many times, then one a second: a
// program that takes it away again and again costs us no more.
constexpr unsigned kRepairs = 5;

}  // namespace

bool Router::without_ipv6() const {
    const std::string off = read_sysctl("ipv6/conf/" + tap_.name() + "/disable_ipv6");
    // A device that is being made again has no settings; a kernel without IPv6 has none at all.
    return off.empty() ? read_sysctl("ipv6/conf/all/disable_ipv6").empty() : off != "0";
}

void Router::restore_soon() {
    const Time pause = repairs_in_a_row_ >= kRepairs ? kInterval : kPause;
    restore_at_ = std::min(restore_at_, std::max(now(), restored_ + pause));
}

void Router::make_device_again() {
    try {
        tap_.make_again();
        netlink_.set_up_device(tap_.index(), device_mtu_);
        messages_.move(tap_.index());
        datapath_.set_device(tap_);
    } catch (const std::exception& e) {
        throw std::runtime_error("the tunnel device " + tap_.name() +
                                 " has been removed and cannot be made again: " + e.what());
    }
    error_source_.move(tap_.index());
    routing_.move(tap_.index());
    repairs_.note("device made",
                  "the tunnel device " + tap_.name() + " had been removed; made again");
}

void Router::keep_device() {
    const auto link = netlink_.link(tap_.name());
    if (link && link->index == tap_.index()) return;
    std::array<char, IF_NAMESIZE> name{};
    if (::if_indextoname(static_cast<unsigned>(tap_.index()), name.data()) == nullptr)
        return make_device_again();
    const std::string other = name.data();
    try {
        netlink_.set_name(tap_.index(), tap_.name());
    } catch (const std::exception& e) {
        throw std::runtime_error("the tunnel device is called " + other + " now: " + e.what());
    }
    repairs_.note("device name", "the tunnel device was called " + other + "; it is called " +
                                     tap_.name() + " again");
}

void Router::restore_device() {
    const auto link = netlink_.link(tap_.name());
    if (link && !link->usable) {
        netlink_.set_up_device(tap_.index(), device_mtu_);
        repairs_.note("device up", "the tunnel device was down; set up again");
    } else if (link && link->mtu != device_mtu_) {
        netlink_.set_mtu(tap_.index(), device_mtu_);
        routing_.renew();
        repairs_.note("device mtu", "the tunnel device had another MTU; set again");
    }
    if (datapath_.restore())
        repairs_.note(
            "device hook",
            "a tc program of the tunnel device, or a device behind it, had been taken away; "
            "put back");
}

void Router::restore() {
    const Time before = std::exchange(restored_, now());
    const auto quiet =
        static_cast<unsigned>(std::min<Time>((restored_ - before) / kInterval, kRepairs));
    restore_at_ = restored_ + kInterval;
    const auto part = [this](const char* what, const auto& put_back) {
        std::string trouble;
        try {
            put_back();
        } catch (const std::exception& e) {
            trouble = e.what();
        }
        if (trouble != troubles_[what] && !trouble.empty())
            say("warning: %s: %s", what, trouble.c_str());
        troubles_[what] = trouble;
    };
    // The site cannot do without it: what cannot be mended ends urd, and the guard stays.
    keep_device();
    part("tunnel device", [this] { restore_device(); });
    const bool guards = lines_.restore();
    if (without_ipv6() != without_ipv6_) look_at_prefixes();
    // The kernel does not tell when an address is about to go, or has no answer.
    const bool look =
        std::any_of(config_.tunnels.begin(), config_.tunnels.end(), [this](const auto& t) {
            return path(t).expires || (path(t).sources.size() > 1 && !up(t)) ||
                   !path(t).trouble.empty();
        });
    if (look || guards) refresh();
    part("forwarding", [this] { forwarding_.restore(); });
    part("rules and routes", [this] { routing_.restore(); });
    part("routes over lines", [this] { clear_routes(); });
    part("source of ICMP errors", [this] {
        error_source_.update();
        datapath_.set_rules(rules());
    });
    repairs_in_a_row_ -= std::min(repairs_in_a_row_, quiet);
    if (repairs_.take()) repairs_in_a_row_ = std::min(repairs_in_a_row_ + 1, kRepairs);
    repairs_.tell(restored_);
}

}  // namespace dr::ur
