// Builds the rows of `drcli tunnel list` and `watch`.
#include "cli/tunnel_rows.h"

#include <utility>

#include "cli/format.h"
#include "cli/liveness_text.h"

namespace dr::cli {

using dr::v1::TunnelStatus;

namespace {

std::string counter_text(const TunnelStatus& tunnel, std::uint64_t value) {
    return tunnel.has_counters() ? std::to_string(value) : "-";
}

}  // namespace

std::vector<Column> liveness_columns() {
    return {{"ID", Align::Right},
            {"SUBSCRIBER"},
            {"LINE"},
            {"STATE"},
            {"SINCE", Align::Right},
            {"RTT", Align::Right},
            {"JITTER", Align::Right},
            {"LOSS UP", Align::Right},
            {"LOSS DOWN", Align::Right},
            {"FLAPS", Align::Right},
            {"ENDPOINT"},
            {"WHY"}};
}

std::vector<std::string> liveness_row(const TunnelStatus& status) {
    const auto& tunnel = status.tunnel();
    const auto& l = status.liveness();
    const auto& window = recent(l);
    const auto known = [&](std::string text) {
        return status.has_liveness() ? std::move(text) : "-";
    };
    return {std::to_string(tunnel.id()),
            status.subscriber(),
            tunnel.line(),
            TunnelStatus::State_Name(status.state()),
            known(age_text(std::chrono::milliseconds(l.in_state_ms()))),
            rtt_text(l.srtt_us()),
            rtt_text(l.jitter_us()),
            loss_text(window.has_loss_uplink_permille(), window.loss_uplink_permille()),
            loss_text(window.has_loss_downlink_permille(), window.loss_downlink_permille()),
            known(std::to_string(l.flaps())),
            l.endpoint().empty() ? remote_text(tunnel) : l.endpoint(),
            why_text(status)};
}

std::vector<Column> counter_columns() {
    return {{"ID", Align::Right},
            {"SUBSCRIBER"},
            {"LINE"},
            {"ENCAPSULATION"},
            {"LOCAL"},
            {"REMOTE"},
            {"STATE"},
            {"DOWN PKTS", Align::Right},
            {"DOWN BYTES", Align::Right},
            {"UP PKTS", Align::Right},
            {"UP BYTES", Align::Right}};
}

std::vector<std::string> counter_row(const TunnelStatus& status) {
    const auto& tunnel = status.tunnel();
    const auto& counters = status.counters();
    return {std::to_string(tunnel.id()),
            status.subscriber(),
            tunnel.line(),
            encapsulation_text(tunnel.encapsulation(), status.liveness().encapsulation()),
            tunnel.local(),
            remote_text(tunnel),
            TunnelStatus::State_Name(status.state()),
            counter_text(status, counters.downlink_packets()),
            counter_text(status, counters.downlink_bytes()),
            counter_text(status, counters.uplink_packets()),
            counter_text(status, counters.uplink_bytes())};
}

}  // namespace dr::cli
