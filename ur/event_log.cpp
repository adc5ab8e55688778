// Events as lines of urd's log.
#include "ur/event_log.h"

#include "ur/outer.h"

namespace dr::ur {

namespace {

using liveness::EventKind;

void add(std::string& out, const char* key, const std::string& value) {
    out += std::string(" ") + key + "=" + value;
}

// The name of `value` for this kind; nullptr: it says nothing.
const char* value_name(EventKind kind) {
    switch (kind) {
        case EventKind::Suspect:
        case EventKind::SuspectCleared:
            return "directions";
        case EventKind::Degraded:
            return "classes";
        case EventKind::Eligible:
            return "eligible";
        case EventKind::NatChanged:
            return "nat";
        case EventKind::KeySwitched:
            return "key";
        case EventKind::DetectionAdapted:
            return "detection_us";
        case EventKind::Unanswered:
            return "seconds";
        case EventKind::MoveFinished:
            return "forced_buckets";
        case EventKind::Encapsulation:
            return "native";
        case EventKind::PathMtu:
            return "mtu";
        case EventKind::FlowPorts:
            return "flow_ports";
        case EventKind::Checksums:
            return "checksums";
        case EventKind::Congested:
            return "directions";
        case EventKind::StateChanged:
        case EventKind::EndpointAdopted:
        case EventKind::PeerRestarted:
        case EventKind::MoveStarted:
            return nullptr;
    }
    return nullptr;
}

}  // namespace

std::string event_line(const liveness::Event& event, const std::string& line) {
    std::string out = std::string("event=") + text(event.kind);
    if (!line.empty()) add(out, "line", line);
    if (event.kind == EventKind::StateChanged) {
        add(out, "from", liveness::text(event.from));
        add(out, "to", liveness::text(event.to));
    }
    if (event.cause != liveness::Cause::None)
        add(out, "cause", std::string("\"") + text(event.cause) + "\"");
    if (event.outage != 0)
        add(out, "outage_ms", std::to_string(event.outage / liveness::kMillisecond));
    if (const char* name = value_name(event.kind); name != nullptr)
        add(out, name, std::to_string(event.value));
    if (event.endpoint.known()) add(out, "endpoint", to_string(event.endpoint));
    return out;
}

}  // namespace dr::ur
