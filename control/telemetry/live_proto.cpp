// Converts rows of the liveness memfd into API messages.
#include "control/telemetry/live_proto.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/ip.h"
#include "dataplane/liveness/engine.h"
#include "dataplane/southbound/counters.h"

namespace dr::control {
namespace {

namespace sb = southbound;
using liveness::Cause;
using liveness::State;

constexpr std::array<std::uint32_t, 3> kWindowSeconds{1, 10, 60};
constexpr std::uint16_t kNoLoss = 0xffff;
constexpr std::uint32_t kNever = 0xffffffff;

constexpr int offset_of(State state, v1::TunnelStatus::State named) {
    return static_cast<int>(named) - static_cast<int>(state);
}
constexpr int kStateOffset = offset_of(State::AdminDown, v1::TunnelStatus::ADMIN_DOWN);
static_assert(offset_of(State::Down, v1::TunnelStatus::DOWN) == kStateOffset &&
                  offset_of(State::Init, v1::TunnelStatus::INIT) == kStateOffset &&
                  offset_of(State::Up, v1::TunnelStatus::UP) == kStateOffset,
              "the API numbers the states in the engine's order");

void fill_window(const sb::LivenessWindow& from, std::uint32_t seconds, v1::LivenessWindow& out) {
    out.set_seconds(seconds);
    out.set_messages(from.messages);
    out.set_rtt_min_us(from.rtt_min_us);
    out.set_rtt_avg_us(from.rtt_avg_us);
    out.set_rtt_max_us(from.rtt_max_us);
    if (from.loss_uplink_permille != kNoLoss)
        out.set_loss_uplink_permille(from.loss_uplink_permille);
    if (from.loss_downlink_permille != kNoLoss)
        out.set_loss_downlink_permille(from.loss_downlink_permille);
}

void fill_restore(const sb::LivenessState& from, v1::TunnelLiveness& out) {
    if (from.restore_ms_left == kNever)
        out.set_restore_on_trouble(true);
    else if (from.restore_ms_left != 0 ||
             from.ineligible == static_cast<std::uint8_t>(Cause::WaitToRestore))
        out.set_restore_left_ms(from.restore_ms_left);
}

void fill_path_mtu(const sb::LivenessState& from, const WallClock& clock, v1::TunnelLiveness& out) {
    out.set_peer_path_mtu(from.uplink_mtu);
    out.set_path_mtu(from.path_mtu);
    out.set_downlink_path_mtu(from.downlink_mtu);
    out.set_mtu_limit(from.mtu_limit);
    if (from.path_mtu_since_ns != 0)
        fill_time(clock.at_us(from.path_mtu_since_ns), *out.mutable_path_mtu_found());
}

}  // namespace

v1::TunnelStatus::State to_state(std::uint8_t state) {
    return static_cast<v1::TunnelStatus::State>((state & 3) + kStateOffset);
}

std::string cause_text(std::uint8_t cause) {
    if (cause > static_cast<std::uint8_t>(liveness::kLastCause))
        return fmt::format("cause {}", cause);
    return liveness::text(static_cast<Cause>(cause));
}

std::string endpoint_text(std::uint8_t family, const std::array<std::uint8_t, 16>& address,
                          std::uint16_t port) {
    if (family != 4 && family != 6) return {};
    std::string text = to_string(IpAddress{family, address});
    if (port == 0) return text;
    return family == 6 ? fmt::format("[{}]:{}", text, port) : fmt::format("{}:{}", text, port);
}

void fill_liveness(const sb::LivenessState& from, const WallClock& clock, v1::TunnelLiveness& out) {
    const auto is = [&](std::uint16_t flag) { return (from.flags & flag) != 0; };
    const auto ago_ms = [&](std::uint64_t ns) {
        return ns < clock.monotonic_ns() ? (clock.monotonic_ns() - ns) / 1'000'000 : 0;
    };
    if (from.last_received_ns != 0) out.set_peer_state(to_state(from.peer_state));
    fill_time(clock.at_us(from.since_ns), *out.mutable_since());
    out.set_in_state_ms(ago_ms(from.since_ns));
    out.set_cause(cause_text(from.cause));
    out.set_ineligible(cause_text(from.ineligible));
    out.set_peer_diagnostic(from.peer_diagnostic);
    out.set_active(is(sb::LivenessState::kActive));
    // The DR receives the uplink.
    out.set_suspect_uplink(is(sb::LivenessState::kSuspectRx));
    out.set_suspect_downlink(is(sb::LivenessState::kSuspectTx));
    out.set_degraded(is(sb::LivenessState::kDegraded));
    out.set_congested(is(sb::LivenessState::kCongested));
    out.set_damped(is(sb::LivenessState::kDamped));
    if (is(sb::LivenessState::kNatKnown)) out.set_nat(is(sb::LivenessState::kNat));
    out.set_endpoint(endpoint_text(from.family, from.endpoint, from.port));
    for (std::size_t i = 0; i < from.windows.size(); ++i)
        fill_window(from.windows[i], kWindowSeconds[i], *out.add_windows());
    out.set_srtt_us(from.srtt_us);
    out.set_rtt_p95_us(from.rtt_p95_us);
    out.set_jitter_us(from.jitter_us);
    out.set_flaps(from.flaps);
    out.set_penalty(from.penalty);
    out.set_tx_interval_us(from.tx_interval_us);
    out.set_rx_interval_us(from.rx_interval_us);
    out.set_detection_us(from.detection_us);
    fill_restore(from, out);
    if (from.last_received_ns != 0) out.set_last_received_ms(ago_ms(from.last_received_ns));
    out.set_key_number(from.key_number);
    out.set_peer_policy_generation(from.peer_policy_generation);
    fill_path_mtu(from, clock, out);
    if (from.family != 0) out.set_encapsulation(from.port == 0 ? v1::GRE : v1::GRE_UDP);
}

void fill_broken_limits(const sb::LivenessState& from, const v1::Policy& policy,
                        v1::TunnelLiveness& out) {
    const unsigned violating = unsigned{from.flags} >> sb::LivenessState::kViolatingShift;
    const auto& second = from.windows[0];
    const auto& minute = from.windows[2];
    const auto known = [](std::uint16_t loss) { return loss == kNoLoss ? 0U : loss; };
    for (int c = 0; c < policy.classes_size(); ++c) {
        const v1::Class& limits = policy.classes(c);
        if ((violating >> c & 1U) == 0) continue;
        auto& broken = *out.add_broken_limits();
        broken.set_class_name(limits.name());
        broken.set_max_loss_permille(limits.max_loss_permille());
        broken.set_max_rtt_ms(limits.max_rtt_ms());
        broken.set_max_jitter_ms(limits.max_jitter_ms());
        broken.set_loss_permille(
            std::max(known(minute.loss_uplink_permille), known(minute.loss_downlink_permille)));
        broken.set_rtt_us(second.rtt_avg_us);
        broken.set_jitter_us(from.jitter_us);
    }
}

bool troubled(const sb::LivenessState& state) {
    constexpr unsigned kTrouble = sb::LivenessState::kSuspectRx | sb::LivenessState::kSuspectTx |
                                  sb::LivenessState::kDegraded | sb::LivenessState::kCongested |
                                  sb::LivenessState::kDamped;
    return state.state != static_cast<std::uint8_t>(State::Up) || state.ineligible != 0 ||
           (state.flags & kTrouble) != 0 || breaks_limits(state);
}

void fill_time(std::int64_t us, google::protobuf::Timestamp& out) {
    out.set_seconds(us / 1'000'000);
    out.set_nanos(static_cast<std::int32_t>(us % 1'000'000 * 1'000));
    if (out.nanos() >= 0) return;
    out.set_seconds(out.seconds() - 1);
    out.set_nanos(out.nanos() + 1'000'000'000);
}

std::int64_t time_us(const google::protobuf::Timestamp& time) {
    return time.seconds() * 1'000'000 + time.nanos() / 1'000;
}

}  // namespace dr::control
