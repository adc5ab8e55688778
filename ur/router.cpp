// urd's main loop, and what it does in each turn.
#include "ur/router.h"

#include <poll.h>
#include <sys/random.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <system_error>

#include "ur/event_log.h"
#include "ur/log.h"
#include "ur/outer.h"

namespace dr::ur {

namespace {

// Changes of routes come in bursts; they are looked at together. A link or an address that has
// gone is looked at as soon as the last look is so long past.
constexpr liveness::Time kGather = 50 * liveness::kMillisecond;
constexpr liveness::Time kPause = 5 * liveness::kMillisecond;
// So long an address or a route may be away before the line counts as down.
constexpr liveness::Time kRenewal = 300 * liveness::kMillisecond;
// Messages taken before the timers have their turn: a flood of messages stops no timer.
constexpr unsigned kTurn = 128;

std::uint32_t kernel_family(const IpAddress& address) {
    return address.family == 0 ? 0U : address.family == 4 ? AF_INET : AF_INET6;
}

bool contains(const std::vector<IpAddress>& addresses, const IpAddress& address) {
    return std::find(addresses.begin(), addresses.end(), address) != addresses.end();
}

// Before the program is on it: what the kernel itself sends on a device that comes up is nothing
// that the site has lost. Returns the MTU that it has then.
unsigned set_up(Netlink& netlink, const Tap& tap) {
    netlink.set_up_device(tap.index(), kEthernetMtu);
    return kEthernetMtu;
}

}  // namespace

Router::Router(const RouterOptions& options)
    : tap_(options.device),
      device_mtu_(set_up(netlink_, tap_)),
      datapath_(netlink_, tap_),
      config_(kept(options.local_breakout)),
      forwarding_(tap_.name(), options.lan, repairs_),
      lines_(netlink_, datapath_, repairs_, options.lines, options.lan),
      routing_(netlink_, tap_.index(), repairs_),
      error_source_(netlink_, tap_.index(), options.lan,
                    [this](int index) { return lines_.has(index); }),
      messages_(tap_.index()),
      asked_(config_.prefixes),
      leave_guard_(!asked_.empty()),
      keepalives_(*this) {}

// The guard of an earlier run may be on the lines. Ours, which replaces it there, has to know the
// site's prefixes before, and the rules stay until there are others: a site without an attachment
// is as closed as it was.
Config Router::kept(bool local_breakout) {
    Config out;
    out.prefixes = Routing::kept(netlink_);
    datapath_.set_breakout(local_breakout);
    datapath_.set_rules(make_rules(out));
    if (!out.prefixes.empty())
        say("the guard of an earlier run goes on with its %zu prefixes", out.prefixes.size());
    return out;
}

Router::~Router() {
    if (leave_guard_) {
        lines_.leave();
        routing_.leave();
    } else {
        give_back(true);
    }
}

liveness::Time Router::now() {
    timespec t{};
    ::clock_gettime(CLOCK_MONOTONIC, &t);
    return static_cast<Time>(t.tv_sec) * liveness::kSecond + static_cast<Time>(t.tv_nsec);
}

void Router::apply(Config config) {
    config_ = std::move(config);
    asked_ = config_.prefixes;
    choose_prefixes();
    // What the site may send and receive comes first, and what is no longer there goes last, so
    // that no packet meets a place that is not ready for it.
    datapath_.set_rules(rules());
    set_device_mtu();
    forwarding_.enable(config_.prefixes);
    place_tunnels();
    keepalives_.apply(now(), config_);
    lines_.restore();
    refresh();
    publish_buckets();
    clear_slots();
    routing_.set(config_.prefixes);
    error_source_.set(config_.prefixes);
    restore_at_ = now();
}

void Router::place_tunnels() {
    std::set<std::string> devices;
    for (const auto& tunnel : config_.tunnels) {
        devices.insert(tunnel.device);
        Place& place = places_[tunnel.slot];
        if (place.id == tunnel.id) continue;
        place = {tunnel.id, {}, datapath_.tunnel_counters(tunnel.slot), 0, 0, {}, 0};
    }
    lines_.keep(devices);
}

// Slots whose tunnel is gone. No bucket leads there any more.
void Router::clear_slots() {
    std::erase_if(places_, [this](const auto& entry) {
        if (find(entry.first) != nullptr) return false;
        datapath_.set_tunnel(entry.first, {});
        return true;
    });
}

const Tunnel* Router::find(unsigned slot) const {
    const auto at = std::find_if(config_.tunnels.begin(), config_.tunnels.end(),
                                 [slot](const Tunnel& t) { return t.slot == slot; });
    return at == config_.tunnels.end() ? nullptr : &*at;
}

void Router::refresh() {
    refreshed_ = now();
    refresh_at_ = liveness::kNever;
    std::uint32_t plain = 0;
    for (const auto& tunnel : config_.tunnels) {
        try {
            if (look(tunnel) && tunnel.keys.empty()) plain |= 1U << tunnel.number;
        } catch (const std::exception& e) {
            // A device may have gone between two questions; its own change brings us here again.
            say("warning: line %s: %s", tunnel.line.c_str(), e.what());
        }
    }
    plain_lines_ = plain;
    publish_buckets();
    look_at_prefixes();
}

bool Router::look(const Tunnel& tunnel) {
    Place& place = places_[tunnel.slot];
    const LinePath before = place.path;
    LinePath found = lines_.look(tunnel, wish(tunnel, place));
    if (!outlasts(place, found)) place.path = std::move(found);
    publish(tunnel);
    keepalives_.line(now(), tunnel.slot, place.path.usable, place.path.local, place.path.mtu);
    const bool better = place.path.usable && (!before.usable || before.local != place.path.local);
    if (better && on_better_lines_) on_better_lines_();
    return place.path.usable;
}

bool Router::answered(unsigned slot) const {
    const auto status = keepalives_.status(now(), slot);
    return status.state == liveness::State::Up && !status.suspect_rx;
}

SourceWish Router::wish(const Tunnel& tunnel, Place& place) const {
    if (!keepalives_.has(tunnel.slot)) return {};
    if (answered(tunnel.slot)) {
        place.unanswered = 0;
        return {place.path.local, place.answered, {}};
    }
    if (!place.path.usable) place.unanswered = 0;
    if (place.path.usable && place.unanswered == 0) place.unanswered = now();
    if (place.answered.family != 0)
        return {{}, place.answered, [since = place.unanswered](std::size_t count) {
                    return since == 0 ? 0 : source_turn(count, now() - since);
                }};
    // Any of them may be the right one. The port is changed first, then the address.
    return {{}, {}, [turn = keepalives_.moves(tunnel.slot) / 2](std::size_t count) {
                return turn % count;
            }};
}

// A client that renews a lease may take the address and the routes away and put the same ones on
// again; nothing has happened then.
bool Router::outlasts(Place& place, const LinePath& found) {
    const LinePath& used = place.path;
    const bool same =
        found.usable && (found.local == used.local || contains(found.sources, used.local));
    const bool fresh = found.usable && !contains(used.sources, found.local);
    if (!used.usable || !found.link || found.index != used.index || same || fresh) {
        place.lost_at = 0;
        return false;
    }
    if (place.lost_at == 0) place.lost_at = now();
    const Time until = place.lost_at + kRenewal;
    if (now() >= until) return false;
    refresh_at_ = std::min(refresh_at_, until);
    return true;
}

// The tunnel's row, as its configuration, its line and its keepalives have it.
void Router::publish(const Tunnel& tunnel) {
    const LinePath& path = places_[tunnel.slot].path;
    ur_tunnel row = make_tunnel(tunnel);
    if (keepalives_.has(tunnel.slot)) {
        const TunnelEnds ends = keepalives_.ends(tunnel.slot);
        row.udp = ends.peer.port != 0 ? 1 : 0;
        row.entropy = ends.entropy ? 1 : 0;
        row.checksum = row.udp != 0 && !ends.zero_checksums ? 1 : 0;
        row.local_port = ends.local_port;
        if (ends.peer.port != 0) row.remote_port = ends.peer.port;
        row.remote = to_words(to_address(ends.peer));
    }
    row.mtu = mtu_of(tunnel);
    row.local = to_words(path.local);
    if (path.usable) {
        row.ifindex = static_cast<std::uint32_t>(path.index);
        row.next_hop_family = kernel_family(path.next_hop);
        row.next_hop = to_words(path.next_hop);
    }
    datapath_.set_tunnel(tunnel.slot, row);
}

void Router::publish_buckets() {
    plan_ = plan_buckets(config_, choice_, plain_lines_);
    follow_path_mtu();
    datapath_.set_buckets(plan_);
    datapath_.set_moving(choice_.moving);
}

void Router::take_messages() {
    for (unsigned n = 0; n < kTurn; ++n) {
        const auto arrival = messages_.receive();
        if (!arrival) return;
        const auto message = wire::read_outer(arrival->packet);
        const Tunnel* tunnel = find(arrival->slot);
        if (!message || tunnel == nullptr || message->key != tunnel->id) continue;
        keepalives_.receive(now(), arrival->slot, message->message, message->source);
        // For some time what the DR sends is to the address that was in use before.
        Place& place = places_[arrival->slot];
        if (to_address(message->destination) == place.path.local &&
            keepalives_.has(arrival->slot) && answered(arrival->slot))
            place.answered = place.path.local;
    }
}

void Router::take_changes() {
    const Time wait = monitor_.drain() ? kPause : kGather;
    refresh_at_ = std::min(refresh_at_, std::max(now(), refreshed_ + wait));
    restore_soon();
}

liveness::Time Router::run() {
    if (now() >= restore_at_) restore();
    if (now() >= refresh_at_) refresh();
    return std::min({restore_at_, refresh_at_, keepalives_.run(now())});
}

void Router::say_goodbye() {
    constexpr Time kLongest = 300 * liveness::kMillisecond;
    const Time until = now() + kLongest;
    keepalives_.say_goodbye(now());
    while (keepalives_.expected(now()) && now() < until) {
        // Said again while there is no answer: one may be lost.
        const Time next = std::min(keepalives_.run(now()), until);
        const Time left = next - std::min(next, now());
        pollfd fd{messages_.fd(), POLLIN, 0};
        (void)::poll(&fd, 1, static_cast<int>(left / liveness::kMillisecond) + 1);
        take_messages();
    }
}

ur_tunnel_counters Router::counters(const Tunnel& tunnel) const {
    ur_tunnel_counters c = datapath_.tunnel_counters(tunnel.slot);
    const auto place = places_.find(tunnel.slot);
    const auto base = place == places_.end() ? ur_tunnel_counters{} : place->second.base;
    c.tx_packets -= base.tx_packets;
    c.tx_bytes -= base.tx_bytes;
    c.rx_packets -= base.rx_packets;
    c.rx_bytes -= base.rx_bytes;
    c.rx_arrived -= base.rx_arrived;
    return c;
}

const LinePath& Router::path(const Tunnel& tunnel) const {
    static const LinePath nowhere;  // of a configuration that the kernel refused halfway
    const auto place = places_.find(tunnel.slot);
    return place == places_.end() ? nowhere : place->second.path;
}

bool Router::up(const Tunnel& tunnel) const {
    if (!keepalives_.has(tunnel.slot)) return path(tunnel).usable;
    return keepalives_.status(now(), tunnel.slot).state == liveness::State::Up;
}

bool Router::carries(const Tunnel& tunnel) const {
    return std::any_of(plan_.begin(), plan_.end(), [&](const auto& map) {
        return std::find(map.begin(), map.end(), tunnel.slot) != map.end();
    });
}

void Router::send(unsigned slot, const liveness::Endpoint& from, const liveness::Endpoint& to,
                  std::uint32_t key, std::span<const std::uint8_t> message, bool zero_checksum) {
    messages_.send(slot, make_outer(from, to, key, message, zero_checksum));
}

void Router::ends(unsigned slot, const TunnelEnds&) {
    if (const Tunnel* tunnel = find(slot); tunnel != nullptr) publish(*tunnel);
}

void Router::choice(const liveness::Choice& choice) {
    choice_ = choice;
    publish_buckets();
}

liveness::DataCounters Router::data_counters(unsigned slot) {
    const ur_tunnel_counters c = datapath_.tunnel_counters(slot);
    return {c.tx_packets, c.rx_arrived, c.rx_bytes};
}

void Router::bucket_ages(std::span<std::uint32_t, liveness::kBuckets> ages) {
    const auto moving = moving_buckets(config_, choice_);
    for (unsigned b = 0; b < ages.size(); ++b)
        ages[b] = moving[b] ? datapath_.bucket_age_ms(b) : liveness::kAgeSettled;
}

void Router::event(const liveness::Event& event, const std::string& line) {
    say("%s", event_line(event, line).c_str());
}

std::uint64_t Router::random() {
    std::uint64_t value = 0;
    if (::getrandom(&value, sizeof value, 0) != static_cast<ssize_t>(sizeof value))
        throw std::system_error(errno, std::generic_category(), "getrandom");
    return value;
}

}  // namespace dr::ur
