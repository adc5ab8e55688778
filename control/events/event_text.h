// The kinds of events, and what an event's value says, in words.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace dr::control {

// Of the event log itself and of the data plane.
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
inline constexpr const char* kSuppressedEvents = "suppressed";
// Of drd (journal.h).
inline constexpr const char* kAttached = "attach";
inline constexpr const char* kDetached = "detach";
inline constexpr const char* kRefusedCredentials = "refused";
inline constexpr const char* kEnrolled = "enroll";
inline constexpr const char* kRevoked = "revoke";
inline constexpr const char* kProvisioned = "provisioned";
inline constexpr const char* kDrain = "drain";
inline constexpr const char* kDataPlaneLost = "data-plane-lost";
inline constexpr const char* kDataPlaneBack = "data-plane-back";

// liveness::EventKind; an unknown one, of a newer data plane, by its number.
std::string event_kind_text(std::uint8_t kind);
// All kinds, those of the log itself included.
std::vector<std::string> event_kinds();
// southbound::Fault likewise.
std::string fault_text(std::uint64_t fault);
// An event's value in words; empty: it has none.
std::string event_detail(const std::string& kind, std::uint64_t value);

}  // namespace dr::control
