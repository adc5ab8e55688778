#include "tests/unit/liveness/liveness_world.h"

#include <algorithm>
#include <cstdlib>

namespace dr::liveness::test {

namespace {

template <typename F>
bool later(const F& a, const F& b) {
    return a.at != b.at ? a.at > b.at : a.order > b.order;
}

Endpoint endpoint(std::uint8_t last, std::uint16_t port) {
    Endpoint e;
    e.family = 4;
    e.port = port;
    e.address = {192, 0, 2, last};
    return e;
}

}  // namespace

Endpoint World::ur_endpoint(unsigned line) {
    return endpoint(static_cast<std::uint8_t>(100 + line), 4754);
}
Endpoint World::dr_endpoint() {
    return endpoint(1, 4754);
}

Time Path::take(Time now, std::size_t bytes) {
    if (bit_s == 0) return delay;
    const Time waits = std::max(free_at, now) - now;
    const double queued = static_cast<double>(waits) / 8e9 * static_cast<double>(bit_s);
    if (queued + static_cast<double>(bytes) > static_cast<double>(queue_bytes)) return kNever;
    free_at = now + waits + bytes * 8 * kSecond / bit_s;
    return free_at - now + delay;
}

void End::send(TunnelRef tunnel, const Endpoint& to, std::span<const std::uint8_t> message) {
    send_as(tunnel, {}, to, message);
}

void End::send_as(TunnelRef tunnel, const Guise& guise, const Endpoint& to,
                  std::span<const std::uint8_t> message) {
    ++sent;
    const auto line =
        static_cast<unsigned>(std::find(tunnels.begin(), tunnels.end(), tunnel) - tunnels.begin());
    const unsigned number = line < tunnels.size() ? line : tunnel.value;
    Packet packet{number,
                  !is_dr,
                  is_dr ? World::dr_endpoint() : world.ur_seen_as[number],
                  {message.begin(), message.end()}};
    const bool native = to.port == 0;
    if (native) packet.from.port = 0;
    if (guise.port != 0) packet.from.port = guise.port;
    if (world.tap) world.tap(packet);
    Path& path = is_dr ? world.down[number] : world.up[number];
    // The network delivers to the UR only what goes to where it is now.
    Endpoint now_at = world.ur_seen_as[number];
    if (native) now_at.port = 0;
    const bool lost = (is_dr && to != now_at) || (native && path.cut_native) ||
                      (guise.port != 0 && path.one_port) || (guise.zero_checksum && path.no_zero);
    if (lost || path.cut || (path.drop && path.drop(packet))) return;
    constexpr std::size_t kHeaders = 50;  // Ethernet, IPv4, UDP, GRE
    const Time takes = path.take(world.now, packet.bytes.size() + kHeaders);
    if (takes != kNever) world.put({world.now + takes, 0, std::move(packet), false});
}

std::uint64_t End::random() {
    std::uint64_t& s = world.random_state;
    s ^= s << 13;
    s ^= s >> 7;
    s ^= s << 17;
    return s;
}

unsigned End::count(EventKind kind) const {
    return static_cast<unsigned>(std::count_if(events.begin(), events.end(),
                                               [kind](const Event& e) { return e.kind == kind; }));
}

unsigned End::count_to(State state) const {
    return static_cast<unsigned>(std::count_if(
        events.begin(), events.end(),
        [state](const Event& e) { return e.kind == EventKind::StateChanged && e.to == state; }));
}

World::World(const Setup& s) : setup(s) {
    for (unsigned line = 0; line < ur_seen_as.size(); ++line) ur_seen_as[line] = ur_endpoint(line);
    start(dr);
    start(ur);
}

TunnelConfig World::tunnel_config(const End& end, unsigned line) const {
    TunnelConfig config;
    config.group = end.group;
    config.line = static_cast<std::uint8_t>(line);
    config.id = 0x01000100 + line;
    config.profile = (setup.metered >> line & 1U) != 0 ? ProfileId::Metered : setup.profile;
    config.keys[0].number = 1;
    config.keys[0].bytes.fill(static_cast<std::uint8_t>(line + 1));
    config.roaming = end.is_dr;
    config.automatic = setup.automatic;
    config.mtu = setup.mtu;
    config.flow_ports = setup.flow_ports;
    config.checksums = setup.checksums;
    if (!end.is_dr) {
        config.peer = dr_endpoint();
        config.local = ur_endpoint(line);
    }
    return config;
}

void World::start(End& end) {
    Config config;
    config.role = end.is_dr ? Role::DistributionRouter : Role::UserRouter;
    config.seed = setup.seed + (end.is_dr ? 0 : 1);
    config.tuning = setup.tuning;
    std::string error;
    end.engine = Engine::create(config, {setup.lines, 1, 1, 1}, end, &error);
    if (end.engine == nullptr) std::abort();
    Policy policy;
    policy.klass[0].strict = setup.strict;
    for (unsigned line = 0; line < setup.lines; ++line)
        policy.klass[0].tier[line] = setup.tier[line];
    end.engine->set_policy(now, 0, policy);
    end.group = end.engine->add_group(now, {0, setup.restore_ms, 7});
    end.tunnels.clear();
    for (unsigned line = 0; line < setup.lines; ++line) {
        end.tunnels.push_back(end.engine->add_tunnel(now, tunnel_config(end, line)));
    }
}

void World::restart(bool the_dr) {
    start(the_dr ? dr : ur);
}

void World::put(Flight flight) {
    flight.order = order_++;
    flights_.push_back(std::move(flight));
    std::push_heap(flights_.begin(), flights_.end(), later<Flight>);
}

void World::deliver(const Flight& flight) {
    End& end = flight.packet.to_dr ? dr : ur;
    const unsigned line = flight.packet.line;
    if (flight.data) {
        ++end.data[end.tunnels[line].value].received;
        if (flight.loaded) ++load_arrived[flight.packet.to_dr ? 1 : 0];
    } else {
        end.engine->receive(now, end.tunnels[line], flight.packet.bytes, flight.packet.from);
    }
}

void World::move_data() {
    for (unsigned line = 0; line < setup.lines; ++line) {
        if (traffic[line] == 0 || now < traffic_next[line]) continue;
        traffic_next[line] = now + kSecond / traffic[line];
        for (End* end : {&dr, &ur}) {
            ++end->data[end->tunnels[line].value].sent;
            const Path& path = end->is_dr ? down[line] : up[line];
            if (path.cut || path.cut_data) continue;
            if (path.no_zero && end->zero[end->tunnels[line].value]) continue;
            if (path.one_port && status(*end, line).flow_ports) continue;
            if (lose_data && lose_data(line, !end->is_dr)) continue;
            put({now + path.delay, 0, {line, !end->is_dr, {}, {}}, true});
        }
    }
}

unsigned World::in_use(const End& end) const {
    unsigned best = kLines;
    for (unsigned line = 0; line < setup.lines; ++line) {
        if ((end.eligible() >> line & 1U) == 0) continue;
        if (best == kLines || setup.tier[line] < setup.tier[best]) best = line;
    }
    return best;
}

// Each millisecond as many packets of `load` as are due, from none to twice the average.
void World::move_load() {
    for (End* end : {&dr, &ur}) {
        const unsigned way = end->is_dr ? 0 : 1;
        const unsigned line = in_use(*end);
        if (load[way] == 0) continue;
        load_due[way] += load[way] / 1000.0 * static_cast<double>(end->random() % 2001) / 1000.0;
        for (; load_due[way] >= 1; load_due[way] -= 1) {
            if (line == kLines) continue;
            ++load_sent[way];
            ++end->data[end->tunnels[line].value].sent;
            Path& path = end->is_dr ? down[line] : up[line];
            if (path.cut || path.cut_data || (lose_data && lose_data(line, !end->is_dr))) continue;
            const Time takes = path.take(now, load_bytes);
            if (takes == kNever) continue;
            put({now + takes, 0, {line, !end->is_dr, {}, {}}, true, load_bytes, true});
        }
    }
}

void World::run(Time duration) {
    run_until([] { return false; }, duration);
}

bool World::run_until(const std::function<bool()>& done, Time most) {
    const Time end = now + most;
    while (now < end) {
        if (done()) return true;
        now += kMillisecond;
        move_data();
        move_load();
        while (!flights_.empty() && flights_.front().at <= now) {
            std::pop_heap(flights_.begin(), flights_.end(), later<Flight>);
            const Flight flight = std::move(flights_.back());
            flights_.pop_back();
            deliver(flight);
        }
        dr.engine->run(now);
        ur.engine->run(now);
    }
    return done();
}

void World::inject(End& end, unsigned line, const std::vector<std::uint8_t>& bytes,
                   const Endpoint& from) {
    end.engine->receive(now, end.tunnels[line], bytes, from);
}

TunnelStatus World::status(const End& end, unsigned line) const {
    return end.engine->status(now, end.tunnels[line]);
}

State World::state(const End& end, unsigned line) const {
    return status(end, line).state;
}

double until_eligible(World& w, std::uint16_t mask, Time most) {
    const Time start = w.now;
    if (!w.run_until([&] { return w.dr.eligible() == mask; }, most)) return -1;
    return static_cast<double>(w.now - start) / static_cast<double>(kSecond);
}

Setup quick() {
    Setup s;
    s.restore_ms = 2'000;
    s.tuning.clean_us = 1'000'000;
    s.tuning.initial_us = 1'000'000;
    return s;
}

void fail(World& w, unsigned line) {
    w.cut(line);
    w.run(2 * kSecond);
    w.cut(line, false);
    w.run_until([&] { return w.state(w.dr, line) == State::Up; }, 5 * kSecond);
}

}  // namespace dr::liveness::test
