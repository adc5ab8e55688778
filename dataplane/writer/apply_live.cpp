// The table writer and liveness: what it tells of subscribers that have tunnels with keys, and how
// it takes up what keepalives have shown. Configuration never overwrites the latter: an endpoint
// holds until the operator configures another one, a choice until the next.
#include <algorithm>
#include <bit>

#include "dataplane/writer/tunnel_row.h"
#include "dataplane/writer/writer_core.h"

namespace dr::southbound {
namespace {

using Masks = std::array<std::uint16_t, liveness::kClasses>;
static_assert(kMaxClasses == liveness::kClasses && kMaxLines == liveness::kLines);

// A subscriber's lines that may carry traffic: of its tunnels with keys those of `eligible`, and
// all of its other tunnels.
ClassMasks combine(const SubscriberView& view, const PolicyShape& shape, const Masks& eligible) {
    unsigned plain = 0;
    unsigned keyed = 0;
    for (std::size_t i = 0; i < view.tunnels.size(); ++i) {
        const TunnelRecord tunnel = view.tunnels[i];
        const int line = shape.number_of(tunnel.line);
        if (line < 0) continue;
        (tunnel.key_number == 0 ? plain : keyed) |= 1U << line;
    }
    ClassMasks masks{};
    for (std::size_t c = 0; c < shape.classes.size(); ++c)
        masks[c] = static_cast<std::uint16_t>((eligible[c] & keyed) | plain);
    return masks;
}

wire::Endpoint endpoint_of(std::uint8_t family, const std::array<std::uint8_t, 16>& address,
                           std::uint16_t port) {
    return {family, port, address};
}

// Where keepalives go to, as configured: with entropy the peer's own port is the tunnels'.
wire::Endpoint peer_of(const TunnelRecord& record) {
    if (is_learned(record)) return {};
    const std::uint16_t port = !has_ports(record.encapsulation) ? std::uint16_t{0}
                               : record.remote_port == 0        ? wire::kGreUdpPort
                                                                : record.remote_port;
    return endpoint_of(record.family, record.remote, port);
}

// Of a tunnel with a key.
liveness::ProfileId profile_id(Profile profile) {
    switch (profile) {
        case Profile::Mobile:
            return liveness::ProfileId::Mobile;
        case Profile::Satellite:
            return liveness::ProfileId::Satellite;
        case Profile::Metered:
            return liveness::ProfileId::Metered;
        default:
            return liveness::ProfileId::Fixed;
    }
}

// The source ports of data need not be those of keepalives.
bool has_free_port(const TunnelRecord& record) {
    return record.remote_port == 0;
}

// Whether what is known of the peer's endpoint still holds for the tunnel as it is configured now.
// The port of one that is learned is where its UR sends from, which a NAT may change; so with
// another one configured the endpoint holds until the UR sends from elsewhere.
bool still_holds(const Learned& known, const TunnelRecord& record) {
    return known.bind.tunnel.value == record.id && known.remote == record.remote &&
           (is_learned(record) || known.remote_port == record.remote_port) &&
           known.ports == has_ports(record.encapsulation);
}

// What the path carries, and never more than what is configured.
void limit_mtu(const BindRequest& bind, TunnelRecord* record) {
    if (bind.mtu != 0) record->mtu = std::min(record->mtu, bind.mtu);
}

bool has_keys(const SubscriberView& view) {
    return view.keys.size() != 0;
}

}  // namespace

ClassMasks TableWriter::Core::masks_of(const SubscriberView& view, const PolicyShape& shape,
                                       std::uint32_t index) const {
    Masks eligible{};
    if (has_keys(view)) {
        const auto found = lives.find(index);
        if (found != lives.end() && found->second.chosen) eligible = found->second.choice.eligible;
    }
    return combine(view, shape, eligible);
}

void TableWriter::Core::tell_policy(const Policy& policy) const {
    if (!hooks.policy_changed) return;
    PolicyRecord record;
    std::memcpy(&record, policy.body.data(), sizeof record);
    const RecordList<ClassRecord> limits(policy.body.data() + sizeof record, record.classes);
    LivePolicy out;
    out.id = policy.id;
    out.restore_ms = std::uint32_t{record.wait_to_restore} * 1000;
    out.policy.generation = record.generation;
    out.policy.classes = static_cast<std::uint8_t>(policy.shape.classes.size());
    for (std::size_t c = 0; c < policy.shape.classes.size(); ++c) {
        const Tiers& tiers = policy.shape.classes[c];
        liveness::ClassPolicy& klass = out.policy.klass[c];
        for (std::size_t tier = 0; tier < tiers.size(); ++tier) {
            for (const WeightedLine& line : tiers[tier])
                klass.tier[line.line] = static_cast<std::uint8_t>(tier);
        }
        const ClassRecord keep = limits[c];
        klass.max_loss_permille = keep.max_loss_permille;
        klass.max_rtt_ms = keep.max_rtt_ms;
        klass.max_jitter_ms = keep.max_jitter_ms;
        klass.strict = keep.strict != 0;
    }
    hooks.policy_changed(out);
}

void TableWriter::Core::tell_subscriber(std::uint32_t index, const SubscriberView& view,
                                        const Policy& policy) {
    if (!has_keys(view)) return tell_gone(index, view.record.id);
    const auto [entry, added] = lives.try_emplace(index);
    if (added) entry->second.incarnation = ++incarnation;
    if (hooks.keyed_subscriber_changed) {
        LiveSubscriber out{{index}, view.record.id, entry->second.incarnation, policy.id, {}};
        for (std::size_t i = 0; i < view.tunnels.size(); ++i) {
            const TunnelRecord tunnel = view.tunnels[i];
            const int line = policy.shape.number_of(tunnel.line);
            if (tunnel.key_number == 0 || line < 0) continue;
            const std::uint16_t port =
                has_ports(tunnel.encapsulation) ? wire::kGreUdpPort : std::uint16_t{0};
            out.tunnels.push_back({tunnel.id, static_cast<std::uint8_t>(line),
                                   profile_id(tunnel.profile), tunnel.encapsulation, tunnel.mtu,
                                   peer_of(tunnel), endpoint_of(tunnel.family, tunnel.local, port),
                                   has_free_port(tunnel)});
        }
        hooks.keyed_subscriber_changed(std::move(out));
    }
    // The commit has left the move's buckets where they will go in the end.
    if (entry->second.choice.moving) publish_choice(index);
}

void TableWriter::Core::tell_gone(std::uint32_t index, std::uint32_t id) {
    const auto found = lives.find(index);
    if (found == lives.end()) return;
    LiveSubscriber gone{{index}, id, found->second.incarnation, 0, {}};
    leave_place(&found->second);
    lives.erase(found);
    starved_choices.erase(index);
    if (hooks.keyed_subscriber_changed) hooks.keyed_subscriber_changed(std::move(gone));
}

BoundTunnel TableWriter::Core::bound(const TunnelRecord& record) const {
    const bool either = record.encapsulation == Encapsulation::Automatic && record.key_number != 0;
    // Without keepalives nothing can tell whether entropy passes.
    const bool free_port = has_free_port(record);
    const BoundTunnel configured{record, record.remote_port == 0,
                                 record.remote_port == 0 && record.key_number == 0, either,
                                 record.key_number == 0};
    if (record.key_number == 0 || learned.empty()) return configured;
    const auto found = learned.find(TunnelId{record.id}.slot());
    if (found == learned.end()) return configured;
    const Learned& known = found->second;
    if (!still_holds(known, record)) return configured;
    if (!known.bind.peer.known()) {
        BoundTunnel out = configured;
        out.entropy = known.bind.entropy && free_port;
        out.zero_checksums = known.bind.zero_checksums;
        limit_mtu(known.bind, &out.record);
        return out;
    }
    // Behind a NAT the address alone is that of others, too.
    const bool own_address =
        !is_learned(record) || known.bind.any_port || known.bind.peer.port == 0;
    BoundTunnel out{record, known.bind.any_port && free_port, known.bind.entropy && free_port,
                    either && own_address, known.bind.zero_checksums};
    out.record.remote = known.bind.peer.address;
    out.record.encapsulation =
        known.bind.peer.port == 0 ? Encapsulation::Gre : Encapsulation::GreUdp;
    out.record.remote_port = known.bind.peer.port;
    limit_mtu(known.bind, &out.record);
    return out;
}

void TableWriter::Core::forget_stale_endpoint(const TunnelRecord& record) {
    if (learned.empty()) return;
    const auto found = learned.find(TunnelId{record.id}.slot());
    if (found == learned.end()) return;
    if (record.key_number == 0 || !still_holds(found->second, record)) learned.erase(found);
}

// Requests come between transactions: what they unpublish is a batch of its own.
void TableWriter::Core::serve(std::span<const BindRequest> binds,
                              std::span<const ChoiceRequest> choices) {
    if (binds.empty() && choices.empty() && starved_binds.empty() && starved_choices.empty())
        return;
    reclaim();
    open.number = ++batch_number;
    serve_starved();
    for (const BindRequest& bind : binds) serve_bind(bind);
    for (const ChoiceRequest& request : choices) serve_choice(request);
    close_batch();
}

void TableWriter::Core::serve_starved() {
    for (const std::uint32_t id : std::exchange(starved_binds, {})) {
        const auto found = learned.find(TunnelId{id}.slot());
        if (found == learned.end()) continue;
        const BindRequest again = found->second.bind;
        serve_bind(again);
    }
    for (const std::uint32_t index : std::exchange(starved_choices, {})) publish_choice(index);
}

void TableWriter::Core::serve_bind(const BindRequest& bind) {
    const std::uint32_t slot = bind.tunnel.slot();
    if (slot >= tables.tunnel_of_slot.size()) return;
    const std::uint32_t row = tables.tunnel_of_slot[slot].load(std::memory_order_relaxed);
    if (row == kNoRow || !(tunnel_id(tables.tunnels[row]) == bind.tunnel)) return;
    const std::uint32_t index = tables.tunnels[row].subscriber;
    const SubscriberView view = subscribers[index].view();
    for (std::size_t i = 0; i < view.tunnels.size(); ++i) {
        const TunnelRecord record = view.tunnels[i];
        if (record.id != bind.tunnel.value) continue;
        if (record.key_number == 0 || (bind.peer.known() && record.family != bind.peer.family))
            return;
        learned[slot] = {bind, record.remote, record.remote_port, has_ports(record.encapsulation)};
        if (!rebind(index, record)) starved_binds.insert(record.id);
        return;
    }
}

// The tunnel's row by what is known of its endpoint now. false: no row is free.
bool TableWriter::Core::rebind(std::uint32_t index, const TunnelRecord& record) {
    if (tunnel_rows.available() == 0) return false;
    const std::uint32_t row = install_tunnel(index, record);
    const int line = subscribers[index].policy->shape.number_of(record.line);
    if (line >= 0) store_slot(index, static_cast<unsigned>(line), row);
    return true;
}

void TableWriter::Core::serve_choice(const ChoiceRequest& request) {
    const auto found = lives.find(request.index.value);
    if (found == lives.end() || found->second.incarnation != request.incarnation) return;
    found->second.chosen = true;
    found->second.choice = request.choice;
    publish_choice(request.index.value);
}

// false, and tried again later: no map is free; the subscriber keeps the one it has.
bool TableWriter::Core::publish_choice(std::uint32_t index) {
    const auto found = lives.find(index);
    if (found == lives.end() || !found->second.chosen) return true;
    Subscriber& subscriber = subscribers[index];
    const SubscriberView view = subscriber.view();
    Live& state = found->second;
    const ClassMasks masks = combine(view, subscriber.policy->shape, state.choice.eligible);
    std::uint32_t map = kNoRow;
    if (state.choice.moving) {
        map = mixed_maps(subscriber.policy, view, state);
    } else if (masks != ClassMasks{}) {
        map = maps_for(subscriber.policy, masks);
    }
    if (map == kNoRow && (state.choice.moving || masks != ClassMasks{})) {
        starved_choices.insert(index);
        return false;
    }
    if (state.choice.moving)
        take_place(&state, *subscriber.policy, view);
    else
        leave_place(&state);
    replace_map(index, map, state.place);
    return true;
}

// A place for the stamps of a move that begins. Without one all its buckets count as busy.
void TableWriter::Core::take_place(Live* state, const Policy& policy, const SubscriberView& view) {
    const bool same = state->place < kMoves &&
                      tables.moves.places[state->place].epoch.load(std::memory_order_relaxed) ==
                          state->choice.epoch;
    if (same) return;
    leave_place(state);
    if (~places_taken == 0) return;
    state->place = static_cast<std::uint32_t>(std::countr_one(places_taken));
    places_taken |= std::uint64_t{1} << state->place;
    std::array<std::uint64_t, 4> settled{};
    settled.fill(~std::uint64_t{0});
    const ClassMasks before = combine(view, policy.shape, state->choice.previous);
    const ClassMasks after = combine(view, policy.shape, state->choice.eligible);
    for (std::size_t c = 0; c < policy.shape.classes.size(); ++c) {
        const BucketMap from = make_bucket_map(policy.shape.classes[c], before[c]);
        const BucketMap to = make_bucket_map(policy.shape.classes[c], after[c]);
        for (unsigned b = 0; b < liveness::kBuckets; ++b) {
            if (from.line[b] != to.line[b]) settled[b / 64] &= ~(std::uint64_t{1} << (b % 64));
        }
    }
    MoveBoard::Place& place = tables.moves.places[state->place];
    for (std::size_t i = 0; i < settled.size(); ++i)
        place.settled[i].store(settled[i], std::memory_order_relaxed);
    // What an earlier move has left is no use of this one's buckets.
    for (unsigned worker = 0; worker < Tables::kMaxWorkers; ++worker) {
        for (auto& at : tables.move_stamps[worker * kMoves + state->place].at) {
            if (at.load(std::memory_order_relaxed) != 0) at.store(0, std::memory_order_relaxed);
        }
    }
    place.epoch.store(state->choice.epoch, std::memory_order_release);
}

void TableWriter::Core::leave_place(Live* state) {
    if (state->place >= kMoves) return;
    places_taken &= ~(std::uint64_t{1} << state->place);
    state->place = kMoves;
}

// The policy's maps for these sets of lines; kNoRow: there is no room for another one.
std::uint32_t TableWriter::Core::maps_for(Policy* policy, const ClassMasks& masks) {
    if (const auto found = policy->groups.find(masks); found != policy->groups.end())
        return found->second;
    const std::vector<Tiers>& classes = policy->shape.classes;
    const std::uint32_t map = map_runs.take(static_cast<unsigned>(classes.size()));
    if (map == kNoRow) return kNoRow;
    if (policy->makers.empty()) {
        for (const Tiers& tiers : classes) policy->makers.emplace_back(tiers);
    }
    for (std::size_t c = 0; c < classes.size(); ++c)
        tables.maps[map + static_cast<std::uint32_t>(c)] = policy->makers[c].make(masks[c]);
    map_groups[map] = {policy->id, 0, masks, static_cast<std::uint8_t>(classes.size())};
    policy->groups[masks] = map;
    return map;
}

// Maps of the subscriber's own, while it moves bucket by bucket: those of before, with the buckets
// that have moved as they will be.
std::uint32_t TableWriter::Core::mixed_maps(Policy* policy, const SubscriberView& view,
                                            const Live& state) {
    const liveness::Choice& choice = state.choice;
    const auto classes = static_cast<unsigned>(policy->shape.classes.size());
    const std::uint32_t map = map_runs.take(classes);
    if (map == kNoRow) return kNoRow;
    if (policy->makers.empty()) {
        for (const Tiers& tiers : policy->shape.classes) policy->makers.emplace_back(tiers);
    }
    const ClassMasks before = combine(view, policy->shape, choice.previous);
    const ClassMasks after = combine(view, policy->shape, choice.eligible);
    for (unsigned c = 0; c < classes; ++c) {
        BucketMap& mixed = tables.maps[map + c];
        mixed = policy->makers[c].make(before[c]);
        const BucketMap target = policy->makers[c].make(after[c]);
        for (unsigned b = 0; b < liveness::kBuckets; ++b) {
            if ((choice.moved[b / 64] >> (b % 64) & 1U) != 0) mixed.line[b] = target.line[b];
        }
    }
    // Not among the policy's groups: nobody else takes it.
    map_groups[map] = {policy->id, 0, {}, static_cast<std::uint8_t>(classes)};
    return map;
}

}  // namespace dr::southbound
