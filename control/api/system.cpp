// Serves dr.v1.System: status, drain, counters.
#include "control/api/system.h"

#include <algorithm>
#include <cstring>

#include "control/api/crud.h"
#include "control/events/event_text.h"
#include "control/telemetry/live_proto.h"
#include "dataplane/liveness/engine.h"

namespace dr::control {
namespace {

constexpr std::chrono::seconds kCountEvery{1};

v1::SystemStatus::DataplaneState to_state(LinkState state) {
    switch (state) {
        case LinkState::Absent:
            return v1::SystemStatus::ABSENT;
        case LinkState::Syncing:
            return v1::SystemStatus::SYNCING;
        case LinkState::InSync:
            return v1::SystemStatus::IN_SYNC;
        case LinkState::Incomplete:
            return v1::SystemStatus::INCOMPLETE;
        case LinkState::Refused:
            return v1::SystemStatus::REFUSED;
    }
    return v1::SystemStatus::DATAPLANE_STATE_UNSPECIFIED;
}

void fill_snapshot(const CountersMap& map, const LiveMap* live, v1::CountersSnapshot& out) {
    for (const auto& [name, value] : map.all()) (*out.mutable_counters())[name] = value;
    if (live != nullptr)
        for (const auto& [name, value] : live->statistics())
            (*out.mutable_counters())["keepalive." + name] = value;
    out.set_incarnation(map.incarnation());
    out.set_sampled_at_ns(
        static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count()));
}

void fill_memory(const southbound::State& state, v1::SystemStatus& out) {
    const std::size_t count = std::min<std::size_t>(state.memories, state.memory.size());
    for (std::size_t i = 0; i < count; ++i) {
        const southbound::Memory& from = state.memory[i];
        auto& memory = *out.add_memory();
        memory.set_what({from.name.data(), ::strnlen(from.name.data(), from.name.size())});
        memory.set_bytes(from.bytes);
        memory.set_capacity_bytes(from.capacity_bytes);
        memory.set_rows(from.rows);
        memory.set_capacity_rows(from.capacity_rows);
    }
}

void fill_health(const CountersMap& map, v1::SystemStatus& out) {
    const WallClock clock;
    for (const CountersMap::PartHealth& part : map.health()) {
        const southbound::Health& from = part.health;
        auto& to = *out.add_health();
        to.set_kind(part.worker ? v1::PartHealth::WORKER : v1::PartHealth::PORT);
        to.set_name(part.name);
        switch (static_cast<southbound::HealthState>(from.state)) {
            case southbound::HealthState::Ok:
                to.set_state(v1::PartHealth::OK);
                break;
            case southbound::HealthState::Stalled:
                to.set_state(v1::PartHealth::STALLED);
                break;
            case southbound::HealthState::NotWatched:
                to.set_state(v1::PartHealth::NOT_WATCHED);
                continue;
        }
        fill_time(clock.at_us(from.since_ns), *to.mutable_since());
        to.set_cause(fault_text(from.fault));
        to.set_stalls(from.stalls);
        to.set_recoveries(from.repairs);
        to.set_repair_attempts(from.attempts);
        to.set_buffers_lost(from.buffers_lost);
    }
}

}  // namespace

void SystemService::fill(v1::SystemStatus& out) {
    // The revision first: what is installed afterwards can only be as new or newer.
    out.set_store_revision(catalog_.revision());
    const LinkStatus link = link_.status(true);
    const auto desired = catalog_.rows();
    out.set_version(DR_VERSION);
    out.set_dataplane_state(to_state(link.state));
    out.set_detail(link.detail);
    out.set_installed_revision(std::min(link.installed_revision, catalog_.revision()));
    out.set_drain(catalog_.drain());
    const southbound::State& state = link.dataplane;
    if (link.known) {
        out.set_dataplane_version(
            {state.build.data(), ::strnlen(state.build.data(), state.build.size())});
        out.set_dataplane_uuid(uuid_text(state.uuid));
        out.set_dataplane_epoch(state.epoch);
    }
    for (std::size_t t = 0; t < southbound::kTables; ++t) {
        auto& row = *out.add_rows();
        row.set_table(southbound::kTableNames[t]);
        row.set_desired(desired[t]);
        if (!link.known) continue;
        row.set_installed(state.rows[t]);
        row.set_capacity(state.capacity[t]);
    }
    if (link.known) {
        fill_memory(state, out);
        out.set_routes_waiting(state.flags >> southbound::kRoutesWaitingShift);
    }
    if (const auto map = link_.counters()) fill_health(*map, out);
    fill_keepalives(out);
    auto& log = *out.mutable_event_log();
    const EventTail::Status events = events_.status();
    log.set_events(log_.count());
    log.set_missed(events.missed);
    log.set_detail(events.detail);
}

// Counting reads a row for each tunnel, so the result is kept for a while.
void SystemService::fill_keepalives(v1::SystemStatus& out) {
    const auto live = link_.live();
    if (!live) return;
    auto& to = *out.mutable_keepalives();
    for (const auto& [name, value] : live->statistics()) (*to.mutable_statistics())[name] = value;
    const std::lock_guard lock(counts_mutex_);
    const auto now = std::chrono::steady_clock::now();
    if (counted_of_ != live->incarnation() || now - counted_at_ >= kCountEvery) {
        counts_ = live->count();
        counted_at_ = now;
        counted_of_ = live->incarnation();
    }
    const auto in = [&](liveness::State s) { return counts_.state[static_cast<std::size_t>(s)]; };
    to.set_admin_down(in(liveness::State::AdminDown));
    to.set_down(in(liveness::State::Down));
    to.set_init(in(liveness::State::Init));
    to.set_up(in(liveness::State::Up));
    to.set_suspect(counts_.suspect);
    to.set_degraded(counts_.degraded);
    to.set_damped(counts_.damped);
    to.set_active(counts_.active);
}

grpc::Status SystemService::GetStatus(grpc::ServerContext*, const google::protobuf::Empty*,
                                      v1::SystemStatus* response) {
    return guarded([&] {
        fill(*response);
        return grpc::Status::OK;
    });
}

grpc::Status SystemService::SetDrain(grpc::ServerContext*, const v1::SetDrainRequest* request,
                                     v1::SystemStatus* response) {
    return guarded([&] {
        if (const Failure failure = catalog_.set_drain(request->drain()); !failure.ok())
            return to_status(failure);
        journal_.tell(
            Journal::Level::Info,
            {kDrain, {}, {}, {}, request->drain() ? 1U : 0U, request->drain() ? "on" : "off"});
        fill(*response);
        return grpc::Status::OK;
    });
}

grpc::Status SystemService::away() {
    return {grpc::StatusCode::UNAVAILABLE,
            "the data plane is away, and its counters with it: " + link_.status(false).detail};
}

grpc::Status SystemService::GetCounters(grpc::ServerContext*, const google::protobuf::Empty*,
                                        v1::CountersSnapshot* response) {
    const auto map = link_.counters();
    if (!map) return away();
    fill_snapshot(*map, link_.live().get(), *response);
    return grpc::Status::OK;
}

grpc::Status SystemService::WatchCounters(grpc::ServerContext* context,
                                          const v1::WatchCountersRequest* request,
                                          grpc::ServerWriter<v1::CountersSnapshot>* writer) {
    const auto place = watches_.enter(caller_of(*context));
    if (!place.valid()) return watches_.refusal();
    const auto interval = watch_interval(request->interval_ms());
    do {
        const auto map = link_.counters();
        if (!map) continue;
        v1::CountersSnapshot snapshot;
        fill_snapshot(*map, link_.live().get(), snapshot);
        if (!writer->Write(snapshot)) break;
    } while (!context->IsCancelled() && !stopping_.wait_for(interval));
    return grpc::Status::OK;
}

grpc::Status SystemService::ListDrops(grpc::ServerContext*, const v1::ListDropsRequest* request,
                                      v1::ListDropsResponse* response) {
    return guarded([&] { return drops_.list(*request, *response); });
}

grpc::Status SystemService::ListExits(grpc::ServerContext*, const google::protobuf::Empty*,
                                      v1::ListExitsResponse* response) {
    const auto map = link_.counters();
    if (!map) return away();
    for (const auto& exit : map->exits()) {
        auto& out = *response->add_exits();
        out.set_name(exit.name);
        out.set_help(exit.help);
        out.set_count(exit.count);
    }
    return grpc::Status::OK;
}

}  // namespace dr::control
