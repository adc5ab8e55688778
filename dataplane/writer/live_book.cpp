// Policies and subscribers as liveness threads see them, and what they have found out.
#include "dataplane/writer/live_book.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

namespace dr::southbound {
namespace {

static_assert(kMaxClasses == liveness::kClasses && kMaxLines == liveness::kLines);

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

// What the path carries, and never more than what is configured.
void limit_mtu(const BindRequest& bind, TunnelRecord* record) {
    if (bind.mtu != 0) record->mtu = std::min(record->mtu, bind.mtu);
}

bool has_keys(const SubscriberView& view) {
    return view.keys.size() != 0;
}

}  // namespace

// Whether what is known of the peer's endpoint still holds for the tunnel as it is configured now.
// The port of one that is learned is where its UR sends from, which a NAT may change; so with
// another one configured the endpoint holds until the UR sends from elsewhere.
bool LiveBook::still_holds(const Learned& known, const TunnelRecord& record) {
    return known.bind.tunnel.value == record.id && known.remote == record.remote &&
           (is_learned(record) || known.remote_port == record.remote_port) &&
           known.ports == has_ports(record.encapsulation);
}

ClassMasks LiveBook::usable(const SubscriberView& view, const PolicyShape& shape,
                            std::uint32_t index) const {
    ClassMasks eligible{};
    if (has_keys(view)) {
        const auto found = lives_.find(index);
        if (found != lives_.end() && found->second.chosen) eligible = found->second.choice.eligible;
    }
    return shape.usable(view, eligible);
}

void LiveBook::tell(const Policy& policy) const {
    if (!listeners_.policy) return;
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
    listeners_.policy(out);
}

void LiveBook::tell_policy_gone(std::uint32_t id) const {
    if (listeners_.policy) listeners_.policy({id, true, 0, {}});
}

void LiveBook::tell(std::uint32_t index, const SubscriberView& view, const Policy& policy) {
    if (!has_keys(view)) return tell_gone(index, view.record.id);
    const auto [entry, added] = lives_.try_emplace(index);
    if (added) entry->second.incarnation = ++incarnation_;
    if (listeners_.subscriber) {
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
        listeners_.subscriber(std::move(out));
    }
    // The commit has left the move's buckets where they will go in the end.
    if (entry->second.choice.moving) publish_choice(index);
}

void LiveBook::tell_gone(std::uint32_t index, std::uint32_t id) {
    const auto found = lives_.find(index);
    if (found == lives_.end()) return;
    LiveSubscriber gone{{index}, id, found->second.incarnation, 0, {}};
    leave_place(found->second);
    lives_.erase(found);
    starved_choices_.erase(index);
    if (listeners_.subscriber) listeners_.subscriber(std::move(gone));
}

BoundTunnel LiveBook::bound(const TunnelRecord& record) const {
    const bool either = record.encapsulation == Encapsulation::Automatic && record.key_number != 0;
    // Without keepalives nothing can tell whether entropy passes.
    const bool free_port = has_free_port(record);
    const BoundTunnel configured{record, record.remote_port == 0,
                                 record.remote_port == 0 && record.key_number == 0, either,
                                 record.key_number == 0};
    if (record.key_number == 0 || learned_.empty()) return configured;
    const auto found = learned_.find(TunnelId{record.id}.slot());
    if (found == learned_.end()) return configured;
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

void LiveBook::forget_stale_endpoint(const TunnelRecord& record) {
    if (learned_.empty()) return;
    const auto found = learned_.find(TunnelId{record.id}.slot());
    if (found == learned_.end()) return;
    if (record.key_number == 0 || !still_holds(found->second, record)) learned_.erase(found);
}

void LiveBook::serve(std::span<const BindRequest> binds, std::span<const ChoiceRequest> choices) {
    for (const std::uint32_t id : std::exchange(starved_binds_, {})) {
        const auto found = learned_.find(TunnelId{id}.slot());
        if (found == learned_.end()) continue;
        const BindRequest again = found->second.bind;
        serve_bind(again);
    }
    for (const std::uint32_t index : std::exchange(starved_choices_, {})) publish_choice(index);
    for (const BindRequest& bind : binds) serve_bind(bind);
    for (const ChoiceRequest& request : choices) serve_choice(request);
}

void LiveBook::serve_bind(const BindRequest& bind) {
    const std::uint32_t slot = bind.tunnel.slot();
    const TunnelTable& tunnels = around_.tunnels;
    if (slot >= tunnels.slots() || tunnels.row_of(slot) == kNoRow ||
        !(tunnels.tunnel_in(slot) == bind.tunnel))
        return;
    const std::uint32_t index = tunnels.owner_of(slot);
    const SubscriberView view = around_.books.subscriber(index).view();
    for (std::size_t i = 0; i < view.tunnels.size(); ++i) {
        const TunnelRecord record = view.tunnels[i];
        if (record.id != bind.tunnel.value) continue;
        if (record.key_number == 0 || (bind.peer.known() && record.family != bind.peer.family))
            return;
        learned_[slot] = {bind, record.remote, record.remote_port, has_ports(record.encapsulation)};
        if (!rebind(index, record)) starved_binds_.insert(record.id);
        return;
    }
}

// The tunnel's row by what is known of its endpoint now. false: no row is free.
bool LiveBook::rebind(std::uint32_t index, const TunnelRecord& record) {
    if (around_.tunnels.available() == 0) return false;
    forget_stale_endpoint(record);
    const std::uint32_t row =
        around_.tunnels.install(index, bound(record), around_.graveyard.open());
    const int line = around_.books.subscriber(index).policy->shape.number_of(record.line);
    if (line >= 0) around_.subscribers.set_slot(index, static_cast<unsigned>(line), row);
    return true;
}

void LiveBook::serve_choice(const ChoiceRequest& request) {
    const auto found = lives_.find(request.index.value);
    if (found == lives_.end() || found->second.incarnation != request.incarnation) return;
    found->second.chosen = true;
    found->second.choice = request.choice;
    publish_choice(request.index.value);
}

// When no map is free it is tried again later; the subscriber keeps the one that it has.
void LiveBook::publish_choice(std::uint32_t index) {
    const auto found = lives_.find(index);
    if (found == lives_.end() || !found->second.chosen) return;
    const Subscriber& subscriber = around_.books.subscriber(index);
    const SubscriberView view = subscriber.view();
    const Policy& policy = *subscriber.policy;
    Live& state = found->second;
    const ClassMasks masks = policy.shape.usable(view, state.choice.eligible);
    const bool any = state.choice.moving || masks != ClassMasks{};
    std::uint32_t map = kNoRow;
    if (state.choice.moving)
        map = around_.maps.make_mixed(policy.id, policy.shape,
                                      policy.shape.usable(view, state.choice.previous), masks,
                                      state.choice.moved);
    else if (any)
        map = around_.maps.get(policy.id, policy.shape, masks);
    if (map == kNoRow && any) {
        starved_choices_.insert(index);
        return;
    }
    if (state.choice.moving)
        take_place(state, policy.shape, view);
    else
        leave_place(state);
    around_.subscribers.point(index, map, state.place, around_.graveyard.open());
}

// A place for the stamps of a move that begins. Without one all its buckets count as busy.
void LiveBook::take_place(Live& state, const PolicyShape& shape, const SubscriberView& view) {
    const bool same = state.place < kMoves && around_.tables.moves.places[state.place].epoch.load(
                                                  std::memory_order_relaxed) == state.choice.epoch;
    if (same) return;
    leave_place(state);
    if (~places_taken_ == 0) return;
    state.place = static_cast<std::uint32_t>(std::countr_one(places_taken_));
    places_taken_ |= std::uint64_t{1} << state.place;
    std::array<std::uint64_t, 4> settled{};
    settled.fill(~std::uint64_t{0});
    const ClassMasks before = shape.usable(view, state.choice.previous);
    const ClassMasks after = shape.usable(view, state.choice.eligible);
    for (std::size_t c = 0; c < shape.classes.size(); ++c) {
        const BucketMap from = make_bucket_map(shape.classes[c], before[c]);
        const BucketMap to = make_bucket_map(shape.classes[c], after[c]);
        for (unsigned b = 0; b < liveness::kBuckets; ++b) {
            if (from.line[b] != to.line[b]) settled[b / 64] &= ~(std::uint64_t{1} << (b % 64));
        }
    }
    MoveBoard::Place& place = around_.tables.moves.places[state.place];
    for (std::size_t i = 0; i < settled.size(); ++i)
        place.settled[i].store(settled[i], std::memory_order_relaxed);
    // What an earlier move has left is no use of this one's buckets.
    for (unsigned worker = 0; worker < Tables::kMaxWorkers; ++worker) {
        for (auto& at : around_.tables.move_stamps[worker * kMoves + state.place].at) {
            if (at.load(std::memory_order_relaxed) != 0) at.store(0, std::memory_order_relaxed);
        }
    }
    place.epoch.store(state.choice.epoch, std::memory_order_release);
}

void LiveBook::leave_place(Live& state) {
    if (state.place >= kMoves) return;
    places_taken_ &= ~(std::uint64_t{1} << state.place);
    state.place = kMoves;
}

}  // namespace dr::southbound
