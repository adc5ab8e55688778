// Which of the site's prefixes are in use, beside what is on the lines.
#include <linux/rtnetlink.h>

#include <algorithm>
#include <exception>
#include <utility>

#include "ur/log.h"
#include "ur/router.h"

namespace dr::ur {

namespace {

std::string told(const IpPrefix& prefix, const std::string& what) {
    return to_string(prefix) + " holds " + what +
           "; what the lines and signalling need must lie outside";
}

// Says what is new of these.
void say_new(const char* what, const std::vector<std::string>& now,
             const std::vector<std::string>& before) {
    for (const auto& why : now)
        if (std::find(before.begin(), before.end(), why) == before.end())
            say("warning: %s: %s", what, why.c_str());
}

}  // namespace

// What a tunnel uses counts too while its address is taken away and put on again.
void Router::add_ways(LineAddresses& entry, int index, const Tunnel& tunnel) {
    if (const auto place = places_.find(tunnel.slot); place != places_.end()) {
        const LinePath& used = place->second.path;
        if (place->second.id == tunnel.id && used.usable && used.index == index)
            entry.ways.push_back({used.local, used.next_hop});
    }
    std::vector<IpAddress> sources{tunnel.local};
    if (tunnel.local.family == 0) {
        sources.clear();
        for (const auto& own : netlink_.source_addresses(index, tunnel.remote.family))
            if (own.ready) sources.push_back(own.address);
    }
    for (const auto& source : sources)
        if (const auto gateway = netlink_.gateway(index, source, tunnel.remote))
            entry.ways.push_back({source, *gateway});
}

std::vector<LineAddresses> Router::line_addresses(const Config& config) {
    std::map<std::string, std::string> devices = devices_;
    for (const auto& tunnel : config.tunnels)
        if (!tunnel.device.empty()) devices[tunnel.line] = tunnel.device;
    std::vector<LineAddresses> out;
    for (const auto& [line, device] : devices) {
        LineAddresses& entry = out.emplace_back();
        entry.line = line;
        const auto link = netlink_.link(device);
        if (!link) continue;
        entry.addresses = netlink_.addresses_of(link->index);
        for (const auto& tunnel : config.tunnels)
            if (tunnel.device == device && link->usable) add_ways(entry, link->index, tunnel);
    }
    return out;
}

// Where something is in force that goes on, what is new must not hold anything of a line. For what
// somebody has made of a line since, one that is in force is not taken back.
std::vector<std::string> Router::conflicts(const Config& config) {
    const auto lines = line_addresses(config);
    std::vector<std::string> out;
    std::vector<IpPrefix> used;
    for (std::size_t i = 0; i < config.prefixes.size(); ++i) {
        const IpPrefix& prefix = config.prefixes[i];
        std::string why = cuts_off(prefix, used, lines, signalling_);
        if (why.empty() && !asked_.empty()) why = held_by(prefix, lines, signalling_, asked_);
        if (why.empty())
            used.push_back(prefix);
        else
            out.push_back("prefixes[" + std::to_string(i) + "]: " + told(prefix, why));
    }
    return out;
}

bool Router::choose_prefixes() {
    without_ipv6_ = without_ipv6();
    const auto lines = line_addresses(config_);
    std::vector<IpPrefix> chosen, unused;
    std::vector<std::string> left_out;
    for (const auto& prefix : asked_) {
        std::string why = cuts_off(prefix, chosen, lines, signalling_);
        if (!why.empty()) why = told(prefix, why);
        if (why.empty() && prefix.address.family == 6 && without_ipv6_)
            why =
                to_string(prefix) +
                " cannot be routed: IPv6 is switched off here; set net.ipv6.conf.all.disable_ipv6 "
                "and net.ipv6.conf.default.disable_ipv6 to 0";
        (why.empty() ? chosen : unused).push_back(prefix);
        if (!why.empty()) left_out.push_back(std::move(why));
    }
    auto needed = needed_in(unused, lines, signalling_);
    tell_prefixes(std::move(left_out), set_aside(chosen, lines));
    lines_.set_prefixes(chosen);
    const bool same = chosen == config_.prefixes && unused == unused_ && needed == needed_;
    config_.prefixes = std::move(chosen);
    unused_ = std::move(unused);
    needed_ = std::move(needed);
    return !same;
}

void Router::tell_prefixes(std::vector<std::string> left_out, std::vector<std::string> aside) {
    say_new("a prefix of the site is left out", left_out, left_out_);
    say_new("a prefix of the site holds what a line has, and the line does without", aside, aside_);
    left_out_ = std::move(left_out);
    aside_ = std::move(aside);
}

// A line's address may have come to lie in a prefix: then the line does without it; where no line
// can, that prefix goes, and the tunnels stay.
void Router::look_at_prefixes() {
    try {
        const auto before = config_.prefixes;
        if (!choose_prefixes()) return;
        if (before != config_.prefixes)
            say("event=prefixes used=%zu left-out=%zu", config_.prefixes.size(), left_out_.size());
        forwarding_.enable(config_.prefixes);
        routing_.set(config_.prefixes);
        error_source_.set(config_.prefixes);
        datapath_.set_rules(rules());
        refresh_at_ = now();  // with other prefixes a line may have another address to use
    } catch (const std::exception& e) {
        say("warning: the site's prefixes: %s", e.what());
        config_.prefixes.clear();  // whatever of it is done, the next look does it again
    }
}

// The rules take no route over a line. One that leads to a part of a prefix hides the LAN's route
// to it all the same: the longest match is looked for first. And the local table comes before the
// rules.
void Router::clear_routes() {
    const auto hides = [this](const DeviceRoute& route) {
        return lines_.is_line(route.index) &&
               std::any_of(config_.prefixes.begin(), config_.prefixes.end(),
                           [&](const IpPrefix& prefix) { return prefix.contains(route.to); });
    };
    for (const auto& route : netlink_.remove_routes(hides)) {
        const bool local = route.table == RT_TABLE_LOCAL;
        if (local && route.to.length == route.to.address.bits())
            taken_[route.to.address] = route.index;
        if (!local)
            repairs_.note("route over a line",
                          "a route over a line led into the site's prefixes, to " +
                              to_string(route.to) + "; taken away");
    }
    give_back(false);
}

void Router::give_back(bool all) noexcept {
    try {
        std::erase_if(taken_, [&](const auto& entry) {
            const IpAddress& address = entry.first;
            if (!all && inside(config_.prefixes, address)) return false;
            const auto own = netlink_.addresses_of(entry.second);
            if (std::any_of(own.begin(), own.end(),
                            [&](const auto& a) { return a.address == address; }))
                netlink_.add_local_route(entry.second, address);
            return true;
        });
    } catch (const std::exception& e) {
        say("warning: %s", e.what());
    }
}

}  // namespace dr::ur
