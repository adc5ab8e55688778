// Words for the liveness of a tunnel: state, cause, quality, timers.
#include "cli/liveness_text.h"

#include <fmt/format.h>

#include <ctime>

namespace dr::cli {
namespace {

using dr::v1::LivenessWindow;
using dr::v1::TunnelLiveness;
using dr::v1::TunnelStatus;

void add_part(std::string& text, const std::string& part) {
    if (!part.empty()) {
        text += (text.empty() ? "" : ", ") + part;
    }
}

std::string suspect_text(const TunnelLiveness& liveness) {
    if (liveness.suspect_uplink() && liveness.suspect_downlink()) {
        return "suspect";
    }
    return liveness.suspect_uplink()     ? "suspect uplink"
           : liveness.suspect_downlink() ? "suspect downlink"
                                         : "";
}

std::string restore_text(const TunnelLiveness& liveness) {
    if (liveness.restore_on_trouble()) {
        return "when the line in use has trouble";
    }
    return liveness.has_restore_left_ms()
               ? "in " + age_text(std::chrono::milliseconds(liveness.restore_left_ms()))
               : "";
}

std::string limit_text(const char* what, const std::string& now, const std::string& most) {
    return fmt::format("{} {} of at most {}", what, now, most);
}

// The measured value beside each limit of the class.
std::string broken_text(const dr::v1::BrokenLimits& broken) {
    std::string text;
    if (broken.max_loss_permille() != 0) {
        add_part(text, limit_text("loss", loss_text(true, broken.loss_permille()),
                                  loss_text(true, broken.max_loss_permille())));
    }
    if (broken.max_rtt_ms() != 0) {
        add_part(text, limit_text("RTT", rtt_text(broken.rtt_us()),
                                  fmt::format("{}ms", broken.max_rtt_ms())));
    }
    if (broken.max_jitter_ms() != 0) {
        add_part(text, limit_text("jitter", rtt_text(broken.jitter_us()),
                                  fmt::format("{}ms", broken.max_jitter_ms())));
    }
    return fmt::format("class {}: {}", broken.class_name(), text);
}

std::string broken_list(const TunnelLiveness& liveness) {
    std::string text;
    for (const auto& broken : liveness.broken_limits()) {
        text += (text.empty() ? "" : "; ") + broken_text(broken);
    }
    return text.empty() ? "no" : text;
}

std::string broken_classes(const TunnelLiveness& liveness) {
    std::string names;
    for (const auto& broken : liveness.broken_limits()) {
        names += (names.empty() ? "outside the limits of class " : ", ") + broken.class_name();
    }
    return names;
}

// Of a tunnel that is up: whether it carries traffic, or why it may not, then what is wrong with
// it, then when that ends. A reason that names a flag is not followed by the flag.
std::string in_use_text(const TunnelLiveness& liveness) {
    const std::string& reason = liveness.ineligible();
    const std::string limits = broken_classes(liveness);
    const std::string restore = restore_text(liveness);
    const auto says = [&](const char* word) { return reason.find(word) != std::string::npos; };
    std::string text = liveness.active() ? "carries traffic" : "";
    const bool told = !reason.empty() && (limits.empty() || !says("quality outside"));
    if (told) {
        add_part(text, restore.empty() ? reason : fmt::format("{} ({})", reason, restore));
    }
    add_part(text, suspect_text(liveness));
    add_part(text, liveness.degraded() && !says("data is lost") ? "degraded" : "");
    add_part(text, liveness.congested() ? "congested" : "");
    add_part(text, liveness.damped() && !says("damped") ? "damped" : "");
    add_part(text, limits);
    if (text.empty()) {
        text = "standby";
    }
    return told || restore.empty() ? text : text + "; preferred again " + restore;
}

std::string window_text(const LivenessWindow& w) {
    const std::string rtt = w.rtt_max_us() == 0
                                ? "-"
                                : fmt::format("{} / {} / {}", rtt_text(w.rtt_min_us()),
                                              rtt_text(w.rtt_avg_us()), rtt_text(w.rtt_max_us()));
    return fmt::format("RTT min/avg/max {}, loss uplink {}, downlink {}, {} keepalives", rtt,
                       loss_text(w.has_loss_uplink_permille(), w.loss_uplink_permille()),
                       loss_text(w.has_loss_downlink_permille(), w.loss_downlink_permille()),
                       w.messages());
}

std::string peer_text(const TunnelLiveness& l) {
    if (l.peer_state() == TunnelStatus::STATE_UNSPECIFIED) {
        return "not heard yet";
    }
    return fmt::format("{}, diagnostic {}, policy generation {}",
                       TunnelStatus::State_Name(l.peer_state()), l.peer_diagnostic(),
                       l.peer_policy_generation());
}

// The path MTU of both directions, and its source.
std::string path_mtu_text(const TunnelLiveness& l) {
    if (l.path_mtu() == 0) {
        return "not known yet";
    }
    std::string text = fmt::format("{} (downlink {}, uplink {}, of at most {})", l.path_mtu(),
                                   l.downlink_path_mtu(), l.peer_path_mtu(), l.mtu_limit());
    if (l.has_path_mtu_found()) {
        const bool told = l.peer_path_mtu() != 0 && l.peer_path_mtu() < l.downlink_path_mtu();
        text += told ? ", found by the router's probes at " : ", found by probes at ";
        text += time_text(l.path_mtu_found());
    }
    return text;
}

std::string yes(bool value) {
    return value ? "yes" : "no";
}

}  // namespace

std::string rtt_text(std::uint32_t us) {
    const double ms = us / 1e3;
    return us == 0 ? "-" : fmt::format("{:.{}f}ms", ms, ms < 9.995 ? 2 : ms < 99.95 ? 1 : 0);
}

std::string loss_text(bool known, std::uint32_t permille) {
    if (!known) {
        return "-";
    }
    return permille == 0 || permille >= 100 ? fmt::format("{}%", permille / 10)
                                            : fmt::format("{}.{}%", permille / 10, permille % 10);
}

std::string age_text(std::chrono::milliseconds age) {
    const auto s = age.count() / 1000;
    if (s < 60) {
        return fmt::format("{}s", s);
    }
    if (s < 3600) {
        return fmt::format("{}m{:02}s", s / 60, s % 60);
    }
    if (s < 86'400) {
        return fmt::format("{}h{:02}m", s / 3600, s / 60 % 60);
    }
    return fmt::format("{}d{}h", s / 86'400, s / 3600 % 24);
}

std::string time_text(const google::protobuf::Timestamp& time) {
    const std::time_t seconds = time.seconds();
    std::tm local{};
    ::localtime_r(&seconds, &local);
    return fmt::format("{:04}-{:02}-{:02} {:02}:{:02}:{:02}.{:03}", local.tm_year + 1900,
                       local.tm_mon + 1, local.tm_mday, local.tm_hour, local.tm_min, local.tm_sec,
                       time.nanos() / 1'000'000);
}

const LivenessWindow& recent(const TunnelLiveness& liveness) {
    for (const auto& window : liveness.windows()) {
        if (window.seconds() == 10) {
            return window;
        }
    }
    return LivenessWindow::default_instance();
}

std::string why_text(const TunnelStatus& status) {
    if (!status.has_liveness()) {
        return status.state() == TunnelStatus::STATIC ? "no keepalives" : "not installed yet";
    }
    const auto& liveness = status.liveness();
    if (status.state() != TunnelStatus::UP) {
        return liveness.cause().empty() ? "not up" : liveness.cause();
    }
    return in_use_text(liveness);
}

std::vector<std::pair<std::string, std::string>> liveness_entries(const TunnelLiveness& l) {
    const auto ms = [](std::uint32_t us) { return rtt_text(us); };
    std::vector<std::pair<std::string, std::string>> entries{
        {"Since", fmt::format("{} ({})", time_text(l.since()),
                              age_text(std::chrono::milliseconds(l.in_state_ms())))},
        {"Why", l.cause()},
        {"Carries traffic", yes(l.active())},
        {"Why it may not", l.ineligible().empty() ? "-" : l.ineligible()},
        {"Restored", restore_text(l).empty() ? "-" : restore_text(l)},
        {"Suspect", suspect_text(l).empty() ? "no" : suspect_text(l)},
        {"Degraded", yes(l.degraded())},
        {"Congested", yes(l.congested())},
        {"Damped", yes(l.damped())},
        {"Outside limits", broken_list(l)},
        {"Flaps", fmt::format("{}, penalty {}", l.flaps(), l.penalty())},
        {"Peer", peer_text(l)},
        {"Path MTU", path_mtu_text(l)},
        {"Endpoint", l.endpoint().empty() ? "not known yet" : l.endpoint()},
        {"NAT", l.has_nat() ? yes(l.nat()) : "not known yet"},
        {"RTT", fmt::format("{} smoothed, {} at 95 %", ms(l.srtt_us()), ms(l.rtt_p95_us()))},
        {"Jitter", ms(l.jitter_us())}};
    for (const auto& window : l.windows()) {
        entries.emplace_back(fmt::format("Last {} s", window.seconds()), window_text(window));
    }
    entries.emplace_back(
        "Keepalives",
        fmt::format("sent each {}, expected each {}, down after {} of silence",
                    ms(l.tx_interval_us()), ms(l.rx_interval_us()), ms(l.detection_us())));
    entries.emplace_back("Last received", l.has_last_received_ms()
                                              ? fmt::format("{} ms ago", l.last_received_ms())
                                              : "never");
    entries.emplace_back("Key number", std::to_string(l.key_number()));
    return entries;
}

}  // namespace dr::cli
