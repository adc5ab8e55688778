// The data plane's numbers in the API's words. The names are the liveness engine's own.
#pragma once

#include <string>
#include <vector>

#include "control/liveness/live_map.h"
#include "dr/v1/api.pb.h"

namespace dr::control {

// liveness::State as of the memfd.
v1::TunnelStatus::State to_state(std::uint8_t state);
// liveness::Cause; an unknown one, of a newer data plane, by its number.
std::string cause_text(std::uint8_t cause);
// liveness::EventKind likewise.
std::string event_kind_text(std::uint8_t kind);
// All there are, those of the log itself included.
std::vector<std::string> event_kinds();
inline constexpr const char* kMissedEvents = "missed";
inline constexpr const char* kDataPlaneStarted = "data-plane";
// Of the data plane's watchdog.
inline constexpr const char* kLeftOut = "left-out";
inline constexpr const char* kLeftOutCleared = "left-out-cleared";
inline constexpr const char* kOwnInPrefix = "own-in-prefix";
inline constexpr const char* kOwnInPrefixCleared = "own-in-prefix-cleared";
inline constexpr const char* kPortStalled = "port-stalled";
inline constexpr const char* kPortRecovered = "port-recovered";
inline constexpr const char* kRoutesWaiting = "routes-waiting";
inline constexpr const char* kRoutesInstalled = "routes-installed";
inline constexpr const char* kWorkerStalled = "worker-stalled";
inline constexpr const char* kWorkerRecovered = "worker-recovered";
// southbound::Fault likewise.
std::string fault_text(std::uint64_t fault);
inline constexpr const char* kSuppressedEvents = "suppressed";
// "198.51.100.7:4754", "[2001:db8::7]:4754", without port the address; empty: none.
std::string endpoint_text(std::uint8_t family, const std::array<std::uint8_t, 16>& address,
                          std::uint16_t port);

void fill_liveness(const southbound::LivenessState& from, const WallClock& clock,
                   v1::TunnelLiveness& out);
// Whose limits the line does not keep, by the subscriber's policy.
void fill_broken_limits(const southbound::LivenessState& from, const v1::Policy& policy,
                        v1::TunnelLiveness& out);
[[nodiscard]] inline bool breaks_limits(const southbound::LivenessState& from) {
    return from.flags >> southbound::LivenessState::kViolatingShift != 0;
}
// Whether an operator should look at it: no traffic may use it, it is suspect, degraded or
// congested, or
// it does not keep the limits of a class.
bool troubled(const southbound::LivenessState& state);

void fill_time(std::int64_t us, google::protobuf::Timestamp& out);
std::int64_t time_us(const google::protobuf::Timestamp& time);

// What an event's value says; empty: nothing.
std::string event_detail(const std::string& kind, std::uint64_t value);

}  // namespace dr::control
