// What `urd status` says: the object, and the same as a table.
#include <fmt/format.h>

#include <array>
#include <nlohmann/json.hpp>

#include "base/printable.h"
#include "ur/outer.h"
#include "ur/status.h"

namespace dr::ur {

namespace {

using nlohmann::json;

struct CounterName {
    const char* name;
    const char* help;
};
constexpr std::array<CounterName, UrCounters> kCounters{{
#define X(identifier, name, help) {name, help},
#include "ur/bpf/counters.def"
#undef X
}};

double milliseconds(std::uint32_t microseconds) {
    return static_cast<double>(microseconds) / 1000.0;
}

json permille(std::uint16_t value) {
    return value == 0xffff ? json(nullptr) : json(value);
}

void add_keepalives(json& out, const Router& router, const Tunnel& tunnel) {
    const auto now = Router::now();
    const auto s = router.keepalives().status(now, tunnel.slot);
    const TunnelEnds ends = router.keepalives().ends(tunnel.slot);
    const auto local = to_endpoint(router.path(tunnel).local,
                                   ends.peer.port == 0 ? std::uint16_t{0} : ends.local_port);
    out["state"] = liveness::text(s.state);
    out["peerState"] = liveness::text(s.peer_state);
    out["cause"] = liveness::text(s.cause);
    out["ineligible"] = liveness::text(s.ineligible);
    out["sinceMs"] = (now - s.since) / liveness::kMillisecond;
    out["local"] = to_string(local);
    out["endpoint"] = to_string(s.peer);
    out["active"] = s.active;
    out["suspect"] = s.suspect_rx || s.suspect_tx;
    out["degraded"] = s.degraded;
    out["congested"] = s.congested;
    out["damped"] = s.damped;
    out["nat"] = s.nat_known ? json(s.nat) : json(nullptr);
    out["entropy"] = ends.entropy;
    out["checksums"] = s.checksums;
    out["flaps"] = s.flaps;
    out["keyNumber"] = s.key_number;
    out["restoreMs"] = s.restore_ms_left == 0xffffffff ? json(nullptr) : json(s.restore_ms_left);
    out["intervalMs"] = milliseconds(s.tx_interval_us);
    out["detectionMs"] = milliseconds(s.detection_us);
    out["pathMtu"] = s.path_mtu;
    out["uplinkMtu"] = s.own_path_mtu;
    out["downlinkMtu"] = s.peer_path_mtu;
    out["mtuLimit"] = s.mtu_limit;
    out["mtuFoundMs"] = s.path_mtu_since == 0
                            ? json(nullptr)
                            : json((now - s.path_mtu_since) / liveness::kMillisecond);
    out["rttMs"] = milliseconds(s.srtt_us);
    out["rttP95Ms"] = milliseconds(s.rtt_p95_us);
    out["jitterMs"] = milliseconds(s.jitter_us);
    out["lossDownlinkPermille"] = permille(s.minute.loss_rx_permille);
    out["lossUplinkPermille"] = permille(s.minute.loss_tx_permille);
}

// Whether traffic could go over it now.
bool usable(const Router& router, const Tunnel& tunnel) {
    const auto& keepalives = router.keepalives();
    return router.path(tunnel).usable &&
           (!keepalives.has(tunnel.slot) ||
            keepalives.status(Router::now(), tunnel.slot).state == liveness::State::Up);
}

std::string rtt(const json& tunnel, const char* name) {
    const double ms = tunnel[name].get<double>();
    return ms == 0 ? "-" : fmt::format("{:.1f} ms", ms);
}

json tunnel_json(const Router& router, const Tunnel& tunnel) {
    const ur_tunnel_counters c = router.counters(tunnel);
    const LinePath& path = router.path(tunnel);
    json out{{"line", tunnel.line},
             {"device", tunnel.device},
             {"encapsulation", router.datapath().tunnel(tunnel.slot).udp != 0 ? "GRE_UDP" : "GRE"},
             {"configured", tunnel.automatic ? "AUTO"
                            : tunnel.udp     ? "GRE_UDP"
                                             : "GRE"},
             {"remote", dr::to_string(tunnel.remote)},
             {"id", tunnel.id},
             {"usable", usable(router, tunnel)},
             {"carries", router.carries(tunnel)},
             {"trouble", path.trouble},
             {"keepalive", router.keepalives().has(tunnel.slot)},
             {"uplinkPackets", c.tx_packets},
             {"uplinkBytes", c.tx_bytes},
             {"downlinkPackets", c.rx_packets},
             {"downlinkBytes", c.rx_bytes}};
    if (router.keepalives().has(tunnel.slot)) {
        add_keepalives(out, router, tunnel);
    } else {
        out["state"] = path.usable ? "up" : "down";
        out["cause"] = path.usable ? "no keepalives" : "this end's link is down";
    }
    return out;
}

json signalling_json(const SignallingView& s) {
    return {{"connected", s.connected},     {"dr", s.dr},
            {"detail", s.detail},           {"generation", s.generation},
            {"cached", s.cached},           {"declinedGeneration", s.declined},
            {"declinedWhy", s.declined_why}};
}

// "1.5 s", "12 min": of milliseconds.
std::string duration(double ms) {
    if (ms < 120e3) return fmt::format("{:.1f} s", ms / 1000);
    if (ms < 7200e3) return fmt::format("{:.0f} min", ms / 60e3);
    return fmt::format("{:.0f} h", ms / 3600e3);
}

std::string loss(const json& tunnel, const char* name) {
    const auto& value = tunnel[name];
    return value.is_null() ? "-" : fmt::format("{:.1f}%", value.get<double>() / 10);
}

std::string flags(const json& t) {
    std::string out;
    for (const char* name :
         {"carries", "suspect", "degraded", "congested", "damped", "nat", "entropy", "checksums"}) {
        const auto at = t.find(name);
        if (at == t.end() || *at != true) continue;
        if (!out.empty()) out.append(",");
        out.append(name);
    }
    return out;
}

std::string mtu_found(const json& t) {
    const auto& age = t["mtuFoundMs"];
    if (age.is_null()) return "not probed yet";
    const auto down = t["downlinkMtu"].get<unsigned>();
    const bool told = down != 0 && down < t["uplinkMtu"].get<unsigned>();
    return fmt::format("{} {} ago", told ? "told" : "probed", duration(age.get<double>()));
}

std::string text_of(const json& object, const char* member) {
    return printable(object[member].get<std::string>());
}

std::string tunnel_rows(const json& tunnels) {
    std::string out = fmt::format(
        "{:<12} {:<12} {:<8} {:<26} {:>10} {:<7} {:>12} {:>15} {:>12} "
        "{:>15}\n",
        "LINE", "DEVICE", "ENCAP", "REMOTE", "ID", "USABLE", "UP PKTS", "UP BYTES", "DOWN PKTS",
        "DOWN BYTES");
    for (const auto& t : tunnels)
        out += fmt::format(
            "{:<12} {:<12} {:<8} {:<26} {:>10} {:<7} {:>12} {:>15} {:>12} {:>15}\n",
            text_of(t, "line"), text_of(t, "device"), text_of(t, "encapsulation"),
            text_of(t, "remote"), t["id"].get<std::uint32_t>(),
            t["usable"].get<bool>() ? "yes" : "no", t["uplinkPackets"].get<std::uint64_t>(),
            t["uplinkBytes"].get<std::uint64_t>(), t["downlinkPackets"].get<std::uint64_t>(),
            t["downlinkBytes"].get<std::uint64_t>());
    return out;
}

std::string liveness_rows(const json& tunnels) {
    std::string out = fmt::format(
        "{:<12} {:<10} {:>9} {:>9} {:>9} {:>9} {:>9} {:>5}  {:<18} {:<24} {}\n", "LINE", "STATE",
        "SINCE", "RTT", "JITTER", "LOSS UP", "LOSS DOWN", "MTU", "MTU FOUND", "FLAGS", "CAUSE");
    for (const auto& t : tunnels) {
        if (!t["keepalive"].get<bool>()) continue;
        std::string cause = text_of(t, "cause");
        const auto ineligible = text_of(t, "ineligible");
        if (!ineligible.empty() && ineligible != cause)
            cause.append("; not used: ").append(ineligible);
        out +=
            fmt::format("{:<12} {:<10} {:>9} {:>9} {:>9} {:>9} {:>9} {:>5}  {:<18} {:<24} {}\n",
                        text_of(t, "line"), text_of(t, "state"),
                        duration(t["sinceMs"].get<double>()), rtt(t, "rttMs"), rtt(t, "jitterMs"),
                        loss(t, "lossUplinkPermille"), loss(t, "lossDownlinkPermille"),
                        t["pathMtu"].get<unsigned>(), mtu_found(t), flags(t), cause);
    }
    return out;
}

std::string signalling_row(const json& s) {
    std::string declined;
    if (const auto generation = s.value("declinedGeneration", std::uint64_t{0}); generation != 0)
        declined = fmt::format("declined generation {}: {}\n", generation,
                               printable(s.value("declinedWhy", std::string())));
    if (s["connected"].get<bool>())
        return fmt::format("signalling: connected to {}, generation {}\n{}", text_of(s, "dr"),
                           s["generation"].get<std::uint64_t>(), declined);
    return declined + fmt::format("signalling: not connected ({}), generation {}{}\n",
                                  text_of(s, "detail"), s["generation"].get<std::uint64_t>(),
                                  s["cached"].get<bool>() ? " from disk" : "");
}

}  // namespace

std::string status_json(const Router& router, const SignallingView& signalling) {
    const Config& config = router.config();
    json out{{"subscriber", config.subscriber}, {"device", router.device()}, {"mtu", router.mtu()}};
    out["leftOutPrefixes"] = router.left_out();
    if (signalling.used) out["signalling"] = signalling_json(signalling);
    out["tunnels"] = json::array();
    for (const auto& t : config.tunnels) out["tunnels"].push_back(tunnel_json(router, t));
    const auto values = router.datapath().counters();
    for (std::size_t i = 0; i < kCounters.size(); ++i)
        out["counters"][kCounters[i].name] = values[i];
    return out.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
}

std::string status_table(const std::string& text) {
    const json status = json::parse(text);
    std::string out =
        fmt::format("subscriber {}   device {}   mtu {}\n", text_of(status, "subscriber"),
                    text_of(status, "device"), status["mtu"].get<unsigned>());
    if (status.contains("signalling")) out += signalling_row(status["signalling"]);
    for (const auto& why : status.value("leftOutPrefixes", json::array()))
        out += "left out: " + printable(why.get<std::string>()) + "\n";
    out.append("\n");
    const auto& tunnels = status["tunnels"];
    out += tunnel_rows(tunnels);
    for (const auto& t : tunnels)
        if (const auto why = t.value("trouble", std::string()); !why.empty())
            out += fmt::format("line {}: {}\n", text_of(t, "line"), printable(why));
    for (const auto& t : tunnels) {
        if (!t["keepalive"].get<bool>()) continue;
        out.append("\n").append(liveness_rows(tunnels));
        break;
    }
    out += fmt::format("\n{:<24} {:>14}  {}\n", "COUNTER", "PACKETS", "MEANING");
    for (const auto& counter : kCounters) {
        const auto value = status["counters"].value(counter.name, std::uint64_t{0});
        if (value != 0)
            out += fmt::format("{:<24} {:>14}  {}\n", counter.name, value, counter.help);
    }
    return out;
}

}  // namespace dr::ur
