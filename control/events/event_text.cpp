// Tables of event names and texts.
#include "control/events/event_text.h"

#include <fmt/format.h>

#include <array>

#include "dataplane/liveness/engine.h"
#include "dataplane/southbound/counters.h"

namespace dr::control {
namespace {

namespace sb = southbound;
using liveness::EventKind;

constexpr auto kLastKind = static_cast<std::uint8_t>(EventKind::Congested);
constexpr std::uint8_t kUnusedKind = 11;

}  // namespace

std::string fault_text(std::uint64_t fault) {
    if (fault >= sb::kFaultTexts.size()) return fmt::format("fault {}", fault);
    return sb::kFaultTexts[fault];
}

std::string event_kind_text(std::uint8_t kind) {
    if (kind > kLastKind) return fmt::format("kind-{}", kind);
    return liveness::text(static_cast<EventKind>(kind));
}

std::vector<std::string> event_kinds() {
    std::vector<std::string> out;
    for (std::uint8_t k = 0; k <= kLastKind; ++k)
        if (k != kUnusedKind) out.push_back(event_kind_text(k));
    for (const char* kind : {kPortStalled, kPortRecovered, kWorkerStalled, kWorkerRecovered,
                             kRoutesWaiting, kRoutesInstalled})
        out.emplace_back(kind);
    for (const char* kind : {kLeftOut, kLeftOutCleared, kOwnInPrefix, kOwnInPrefixCleared})
        out.emplace_back(kind);
    out.emplace_back(kDataPlaneStarted);
    for (const char* kind : {kAttached, kDetached, kRefusedCredentials, kEnrolled, kRevoked,
                             kProvisioned, kDrain, kDataPlaneLost, kDataPlaneBack})
        out.emplace_back(kind);
    out.emplace_back(kMissedEvents);
    out.emplace_back(kSuppressedEvents);
    return out;
}

std::string event_detail(const std::string& kind, std::uint64_t value) {
    const auto is = [&](EventKind k) { return kind == liveness::text(k); };
    if (is(EventKind::Suspect) || is(EventKind::SuspectCleared))
        return value == 1 ? "uplink" : "downlink";
    if (is(EventKind::Degraded)) {
        if (value == 0) return {};
        std::string classes = "in class";
        for (unsigned c = 0; c < liveness::kClasses; ++c)
            if ((value >> c & 1U) != 0) classes += fmt::format(" {}", c + 1);
        return classes;
    }
    if (is(EventKind::Eligible)) return value != 0 ? "may carry traffic" : "may carry no traffic";
    if (is(EventKind::NatChanged)) return value != 0 ? "there is a NAT" : "there is no NAT";
    if (is(EventKind::KeySwitched)) return fmt::format("sends with key {}", value);
    if (is(EventKind::DetectionAdapted))
        return fmt::format("down after {:.1f} ms of silence", static_cast<double>(value) / 1e3);
    if (is(EventKind::Unanswered)) return fmt::format("no answer for {} s", value);
    if (is(EventKind::Encapsulation)) return value != 0 ? "native GRE" : "GRE-in-UDP";
    if (is(EventKind::FlowPorts))
        return value != 0 ? "data from the flows' ports" : "data from the keepalives' port";
    if (is(EventKind::Checksums))
        return value != 0 ? "data with UDP checksums: those of 0 do not arrive"
                          : "data with UDP checksum 0 again";
    if (is(EventKind::Congested)) {
        constexpr std::array<const char*, 4> kWhich{"no more", "uplink", "downlink",
                                                    "both directions"};
        return kWhich[value & 3U];
    }
    if (is(EventKind::PathMtu)) return fmt::format("inner packets of at most {} bytes", value);
    if (is(EventKind::MoveFinished))
        return value == 0 ? std::string() : fmt::format("{} buckets were forced", value);
    if (kind == kMissedEvents) return fmt::format("{} events were overwritten unread", value);
    if (kind == kSuppressedEvents)
        return fmt::format("{} events of this tunnel were too many to be logged", value);
    if (kind == kRevoked) return fmt::format("credentials refused from now on: {}", value);
    if (kind == kEnrolled)
        return value == 0 ? std::string("the first credentials")
                          : fmt::format("older ones still accepted: {}", value);
    if (kind == kDrain) return value != 0 ? "drain is on" : "drain is off";
    if (kind == kProvisioned && value != 0) return fmt::format("{} subscribers", value);
    if (kind == kDataPlaneStarted) return "the data plane has started";
    return {};
}

}  // namespace dr::control
