// One liveness thread: arrivals to the engine, messages and requests out of it.
#include "dataplane/keepalive/shard.h"

#include <fmt/format.h>
#include <rte_cycles.h>
#include <rte_mbuf.h>
#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <utility>

#include "dataplane/wire/flow_key.h"
#include "dataplane/wire/outer.h"
#include "dataplane/wire/udp_checksum.h"

namespace dr::keepalive {

using liveness::Time;

namespace {

// Of a round: keepalives that anybody may have sent come after those that nobody else can have.
constexpr unsigned kTrustedPerRound = 512;
constexpr unsigned kOtherPerRound = 64;
constexpr unsigned kAtOnce = 32;
// The engine's timers that are run before messages have their turn again.
constexpr std::uint32_t kTimersPerRound = 1024;
// Sleeps: what a message may have to wait for its answer, and what it costs to look.
constexpr Time kLongestSleep = 500 * liveness::kMicrosecond;
constexpr Time kSleepWithoutSessions = 5 * liveness::kMillisecond;
constexpr Time kShortestSleep = 20 * liveness::kMicrosecond;

Time monotonic() {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<Time>(now.tv_sec) * liveness::kSecond + static_cast<Time>(now.tv_nsec);
}

void sleep_for(Time duration) {
    const timespec pause{0, static_cast<long>(duration)};
    nanosleep(&pause, nullptr);
}

}  // namespace

Shard::Shard(const ShardConfig& config, const Surroundings& around)
    : config_(config),
      around_(around),
      sessions_(config.tunnels),
      groups_(config.tunnels),
      told_() {
    for (std::uint32_t n = config.policies; n > 0; --n) free_policies_.push_back(n - 1);
}

Shard::~Shard() = default;

std::unique_ptr<Shard> Shard::create(const ShardConfig& config, const Surroundings& around,
                                     std::string* error) {
    std::unique_ptr<Shard> shard(new Shard(config, around));
    if (!shard->session_of_slot_.allocate(around.tables->tunnel_keys.size())) {
        *error = "no memory for the sessions of tunnels; lower the capacity or add memory";
        return nullptr;
    }
    liveness::Config engine;
    engine.role = liveness::Role::DistributionRouter;
    engine.seed = shard->random();
    const liveness::Limits limits{config.tunnels, config.tunnels, config.policies, kMoves};
    shard->engine_ = liveness::Engine::create(engine, limits, *shard, error);
    return shard->engine_ != nullptr ? std::move(shard) : nullptr;
}

void Shard::run(const std::atomic<bool>& stop) {
    while (!stop.load(std::memory_order_relaxed)) {
        const Time now = monotonic();
        if (poll(now, rte_rdtsc())) continue;
        if (session_count_ == 0) {
            sleep_for(kSleepWithoutSessions);
            continue;
        }
        const Time due = next_deadline();
        const Time wait = due > now ? due - now : 0;
        sleep_for(std::clamp(wait, kShortestSleep, kLongestSleep));
    }
}

bool Shard::poll(Time now, std::uint64_t tsc) {
    round_ = std::max(now, now_);
    around_.tables->moves.turn(static_cast<std::uint32_t>(round_ / liveness::kMillisecond));
    bool busy = take_instructions();
    const KeepaliveRings& rings = around_.handover->shards[config_.number];
    unsigned messages = receive(rings.trusted, kTrustedPerRound, tsc);
    messages += receive(rings.other, kOtherPerRound, tsc);
    now_ = round_;
    busy = busy || messages != 0 || engine_->next_deadline() <= now_;
    busy = engine_->run(now_, kTimersPerRound) <= now_ || busy;
    sweep();
    hand_out();
    return busy;
}

bool Shard::take_instructions() {
    const std::vector<Instruction> instructions = instructions_.take();
    if (instructions.empty()) return false;
    now_ = round_;
    for (const Instruction& instruction : instructions)
        std::visit([this](const auto& what) { apply(what); }, instruction);
    return true;
}

unsigned Shard::receive(rte_ring* ring, unsigned most, std::uint64_t tsc) {
    unsigned total = 0;
    while (total < most) {
        std::array<void*, kAtOnce> taken;
        const unsigned count = rte_ring_dequeue_burst(ring, taken.data(), kAtOnce, nullptr);
        prefetch({taken.data(), count});
        for (unsigned i = 0; i < count; ++i) {
            auto* m = static_cast<rte_mbuf*>(taken[i]);
            receive_one(m, tsc);
            rte_pktmbuf_free(m);
        }
        total += count;
        if (count < kAtOnce) break;
    }
    return total;
}

// Among many tunnels, those of a burst are in no cache: they come from memory together.
void Shard::prefetch(std::span<void* const> burst) const {
    for (void* m : burst) rte_mbuf_prefetch_part1(static_cast<rte_mbuf*>(m));
    for (void* m : burst) {
        const auto* data = rte_pktmbuf_mtod(static_cast<rte_mbuf*>(m), const std::uint8_t*);
        __builtin_prefetch(data - sizeof(KeepaliveArrival));
        __builtin_prefetch(data);
    }
    for (void* m : burst) {
        const auto* data = rte_pktmbuf_mtod(static_cast<rte_mbuf*>(m), const std::uint8_t*);
        KeepaliveArrival arrival;
        std::memcpy(&arrival, data - sizeof arrival, sizeof arrival);
        const std::uint32_t session = session_of_slot_[TunnelId{arrival.key}.slot()];
        if (session != 0) engine_->prefetch({session - 1});
    }
}

// The engine hears when a worker met the message: time in the ring is not the path's.
void Shard::receive_one(rte_mbuf* m, std::uint64_t tsc) {
    const auto* data = rte_pktmbuf_mtod(m, const std::uint8_t*);
    KeepaliveArrival arrival;
    std::memcpy(&arrival, data - sizeof arrival, sizeof arrival);
    const std::uint32_t session = session_of_slot_[TunnelId{arrival.key}.slot()];
    if (session == 0 || sessions_[session - 1].id != arrival.key) return;
    const std::uint64_t cycles = tsc > arrival.tsc ? tsc - arrival.tsc : 0;
    const auto age =
        static_cast<Time>(static_cast<double>(cycles) * 1e9 / static_cast<double>(config_.tsc_hz));
    now_ = std::clamp(age < round_ ? round_ - age : 0, now_, round_);
    const TunnelRef tunnel{session - 1};
    if (m->data_len == kHintSize) return engine_->mtu_hint(now_, tunnel, wire::load16(data));
    // The worker's key is the tunnel's still; else the engine has another look.
    const KeepalivePeer& peer = around_.handover->peers[TunnelId{arrival.key}.slot()];
    const bool same = peer.sequence.load(std::memory_order_relaxed) == arrival.sequence;
    engine_->receive(now_, tunnel, {data, m->data_len}, arrival.source,
                     same ? liveness::Tag::Right : liveness::Tag::Unchecked);
    publish_peer(tunnel);
}

void Shard::publish_keys(TunnelRef tunnel) {
    const Session& session = sessions_[tunnel.value];
    if (!owns_slot(session)) return;
    write_peer_keys(around_.handover->peers[TunnelId{session.id}.slot()],
                    engine_->peer_keys(tunnel));
}

void Shard::publish_peer(TunnelRef tunnel) {
    const Session& session = sessions_[tunnel.value];
    if (!owns_slot(session)) return;
    KeepalivePeer& peer = around_.handover->peers[TunnelId{session.id}.slot()];
    const auto publish = [](std::atomic<std::uint64_t>& at, std::uint64_t value) {
        if (at.load(std::memory_order_relaxed) != value) at.store(value, std::memory_order_relaxed);
    };
    const std::uint64_t salt = engine_->peer_salt(tunnel);
    publish(peer.counter, engine_->peer_counter(tunnel));
    publish(peer.salt, salt != 0 ? salt : KeepalivePeer::kNoSalt);
}

void Shard::send(TunnelRef tunnel, const wire::Endpoint& to,
                 std::span<const std::uint8_t> message) {
    send_as(tunnel, {}, to, message);
}

void Shard::send_as(TunnelRef tunnel, const liveness::Guise& guise, const wire::Endpoint& to,
                    std::span<const std::uint8_t> message) {
    const Session& session = sessions_[tunnel.value];
    if (session.local.family != to.family) return;
    const unsigned outer = wire::outer_size(to);
    // Without a buffer, or with a worker that does not keep up, it is lost like any other packet.
    rte_mbuf* m = rte_pktmbuf_alloc(around_.pool);
    if (m == nullptr) return;
    char* at = rte_pktmbuf_append(m, static_cast<std::uint16_t>(outer + message.size()));
    if (at == nullptr) return rte_pktmbuf_free(m);
    auto* bytes = reinterpret_cast<std::uint8_t*>(at);
    wire::Endpoint from = session.local;
    from.port = guise.port != 0 ? guise.port : wire::kGreUdpPort;
    wire::write_outer(bytes, from, to, session.id, static_cast<unsigned>(message.size()));
    std::memcpy(bytes + outer, message.data(), message.size());
    if (to.port != 0 && !guise.zero_checksum)
        wire::write_udp_checksum(bytes, to.family == 4 ? sizeof(wire::Ipv4) : sizeof(wire::Ipv6));
    if (rte_ring_enqueue(config_.inject, m) != 0) rte_pktmbuf_free(m);
}

// A tunnel would lead into a tunnel. The thread reads the lookup table without being one of its
// readers by name: memory of the table is never given back, so the worst is one wrong answer while
// just that prefix changes.
bool Shard::may_bind(TunnelRef, const wire::Endpoint& peer) {
    const Target target = peer.family == 4 ? around_.tables->lpm4->lookup(peer.address.data())
                                           : around_.tables->lpm6->lookup(peer.address.data());
    // A subscriber's prefix whose packets a route discards is a subscriber's all the same.
    return target.kind() != TargetKind::Subscriber &&
           !(target.kind() == TargetKind::Blackhole && target.is_ours());
}

void Shard::bind(TunnelRef tunnel, const wire::Endpoint& peer) {
    sessions_[tunnel.value].bound = peer;
    request_bind(tunnel);
}

void Shard::path_mtu(TunnelRef tunnel, std::uint16_t mtu) {
    sessions_[tunnel.value].mtu = mtu;
    request_bind(tunnel);
}

void Shard::zero_checksums(TunnelRef tunnel, bool zero) {
    sessions_[tunnel.value].zero_checksums = zero;
    request_bind(tunnel);
}

void Shard::request_bind(TunnelRef tunnel) {
    const Session& session = sessions_[tunnel.value];
    const wire::Endpoint& peer = session.bound;
    const TunnelId id{session.id};
    const auto same = [&](const southbound::BindRequest& bind) { return bind.tunnel == id; };
    const auto found = std::find_if(binds_.begin(), binds_.end(), same);
    const southbound::BindRequest request{
        id, peer, session.any_port, session.entropy, session.mtu, session.zero_checksums};
    if (found != binds_.end())
        *found = request;
    else
        binds_.push_back(request);
}

// Only the last one of a round counts.
void Shard::choice(GroupRef group, const liveness::Choice& choice) {
    Group& g = groups_[group.value];
    if (!choice.moving || choice.epoch != g.epoch) g.stamped_since = 0;
    g.epoch = choice.epoch;
    if (g.pending != 0) {
        choices_[g.pending - 1].choice = choice;
        return;
    }
    choices_.push_back({g.index, g.incarnation, choice});
    g.pending = static_cast<std::uint32_t>(choices_.size());
}

liveness::DataCounters Shard::data_counters(TunnelRef tunnel) {
    const std::uint32_t slot = TunnelId{sessions_[tunnel.value].id}.slot();
    liveness::DataCounters sum;
    for (unsigned w = 0; w < around_.counters->workers(); ++w) {
        const southbound::TunnelCounters& c = around_.counters->tunnel_counters(w)[slot];
        sum.sent += __atomic_load_n(&c.downlink_packets, __ATOMIC_RELAXED);
        sum.received += __atomic_load_n(&c.uplink_packets, __ATOMIC_RELAXED) +
                        around_.handover->refused[w][slot].load(std::memory_order_relaxed);
        sum.received_bytes += __atomic_load_n(&c.uplink_bytes, __ATOMIC_RELAXED);
    }
    return sum;
}

// From the workers' stamps, once the writer has published that there are any; until then all
// buckets are taken for busy.
void Shard::bucket_ages(GroupRef group, std::span<std::uint32_t, liveness::kBuckets> ages) {
    std::fill(ages.begin(), ages.end(), 0);
    Group& g = groups_[group.value];
    const Tables& tables = *around_.tables;
    const std::uint32_t map = tables.subscribers[g.index.value].map.load(std::memory_order_acquire);
    const unsigned place = SubscriberRow::place_of(map);
    // The map may still be that of the move before.
    if ((map & SubscriberRow::kMoving) == 0 ||
        tables.moves.places[place].epoch.load(std::memory_order_acquire) != g.epoch) {
        g.stamped_since = 0;
        return;
    }
    const std::uint32_t now = tables.moves.clock.load(std::memory_order_relaxed);
    if (g.stamped_since == 0) g.stamped_since = now;
    for (unsigned b = 0; b < liveness::kBuckets; ++b) {
        ages[b] = MoveBoard::age(now, g.stamped_since);
        for (unsigned w = 0; w < config_.workers; ++w) {
            const std::uint32_t at =
                tables.move_stamps[w * kMoves + place].at[b].load(std::memory_order_relaxed);
            if (at != 0) ages[b] = std::min(ages[b], MoveBoard::age(now, at));
        }
        const std::uint64_t word =
            tables.moves.places[place].settled[b / 64].load(std::memory_order_relaxed);
        if ((word >> (b % 64) & 1U) != 0) ages[b] = liveness::kAgeSettled;
    }
}

std::uint64_t Shard::random() {
    if (random_left_ == 0) {
        const std::size_t bytes = sizeof random_;
        // Up to 256 bytes come whole once the kernel's pool is ready.
        for (std::size_t at = 0; at < bytes; at += 256) {
            if (getrandom(reinterpret_cast<std::uint8_t*>(random_.data()) + at, 256, 0) != 256)
                std::abort();
        }
        random_left_ = random_.size();
    }
    return random_[--random_left_];
}

// To the writer and to the memfd, once a round.
void Shard::hand_out() {
    report_dirty();
    report_statistics();
    if (binds_.empty() && choices_.empty()) return;
    for (const southbound::ChoiceRequest& request : choices_) {
        const auto found = group_of_subscriber_.find(request.index.value);
        if (found != group_of_subscriber_.end()) groups_[found->second].pending = 0;
    }
    around_.binds->put_all(&binds_);
    around_.choices->put_all(&choices_);
    wake_writer();
}

void Shard::wake_writer() const {
    const std::uint64_t one = 1;
    // It can only fail when it is awake already.
    if (write(around_.writer_wake, &one, sizeof one) < 0) return;
}

void Shard::complain(const char* what) {
    if (std::exchange(complained_, true)) return;
    fmt::print(stderr,
               "dr-dataplane: error: no room for another {} with keepalives: raise \"liveness\": "
               "{{\"tunnels\": ...}}; it stays down\n",
               what);
}

}  // namespace dr::keepalive
