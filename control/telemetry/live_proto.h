// Converts the data plane's numbers into API values. The names are the liveness engine's own.
#pragma once

#include <string>

#include "control/telemetry/live_map.h"
#include "dr/v1/api.pb.h"

namespace dr::control {

// liveness::State as of the memfd.
v1::TunnelStatus::State to_state(std::uint8_t state);
// liveness::Cause; an unknown one, of a newer data plane, by its number.
std::string cause_text(std::uint8_t cause);
// "198.51.100.7:4754", "[2001:db8::7]:4754", without port the address; empty: none.
std::string endpoint_text(std::uint8_t family, const std::array<std::uint8_t, 16>& address,
                          std::uint16_t port);

void fill_liveness(const southbound::LivenessState& from, const WallClock& clock,
                   v1::TunnelLiveness& out);
// Lists the classes whose limits the line violates, by the subscriber's policy.
void fill_broken_limits(const southbound::LivenessState& from, const v1::Policy& policy,
                        v1::TunnelLiveness& out);
[[nodiscard]] inline bool breaks_limits(const southbound::LivenessState& from) {
    return from.flags >> southbound::LivenessState::kViolatingShift != 0;
}
// Whether an operator should look at it: no traffic may use it, it is suspect, degraded or
// congested, or it violates the limits of a class.
bool troubled(const southbound::LivenessState& state);

void fill_time(std::int64_t us, google::protobuf::Timestamp& out);
std::int64_t time_us(const google::protobuf::Timestamp& time);

}  // namespace dr::control
