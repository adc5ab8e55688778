// What drd makes of the data plane's liveness table, which the tests write with the data plane's
// own writer.
#include <fcntl.h>
#include <linux/memfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <map>
#include <set>

#include "control/events/event_tail.h"
#include "control/events/event_text.h"
#include "control/store/sqlite.h"
#include "control/telemetry/live_proto.h"
#include "control/telemetry/memfd.h"
#include "dataplane/liveness/engine.h"
#include "dataplane/server/liveness_memfd_writer.h"
#include "tests/unit/control/support.h"

namespace dr::control::test {
namespace {

namespace sb = southbound;
using liveness::Cause;
using liveness::EventKind;
using liveness::State;

constexpr std::uint32_t kSlots = 100'000;

std::unique_ptr<sb::LivenessMemfd> make_table(std::uint8_t incarnation) {
    std::string error;
    auto table = sb::LivenessMemfd::create(kSlots, 1, {incarnation}, &error);
    INFO(error);
    REQUIRE(table != nullptr);
    return table;
}

std::shared_ptr<const LiveMap> map_of(const sb::LivenessMemfd& table) {
    return std::make_shared<const LiveMap>(FileDescriptor(::dup(table.fd())), table.bytes(),
                                           table.uuid());
}

sb::LivenessState state_of(std::uint32_t id, State state, unsigned flags = 0) {
    sb::LivenessState s{};
    s.tunnel = id;
    s.state = static_cast<std::uint8_t>(state);
    s.flags = static_cast<std::uint16_t>(flags);
    return s;
}

// A site with keepalives on line a, and a tail of its events.
struct Tailed {
    TemporaryFolder folder;
    std::unique_ptr<Store> store = open_sqlite_store(folder.file("db"));
    Catalog catalog{*store};
    std::unique_ptr<sb::LivenessMemfd> table = make_table(1);
    std::shared_ptr<const LiveMap> map = map_of(*table);
    EventLog log{folder.file("log"), {}};
    Journal journal;
    std::unique_ptr<EventTail> tail = tail_from_here();
    v1::Subscriber site;

    Tailed() {
        for (const char* json : {kPool4, kPolicy}) catalog.apply_one({{}, object(json)});
        const auto result = catalog.apply_one(
            {Request::Mode::Create,
             object(R"({"subscriber":{"name":"site-1","prefixes":["203.0.113.8/29"],
                 "policy":"default","tunnels":[{"line":"a","encapsulation":"GRE_UDP",
                 "local":"192.0.2.1"}]}})")});
        REQUIRE(result.failure.ok());
        site = std::get<v1::Subscriber>(*result.object);
    }
    std::unique_ptr<EventTail> tail_from_here() {
        return std::make_unique<EventTail>([this] { return map; }, catalog, log, journal);
    }
    void add(EventKind kind, std::uint32_t value = 0) { add({}, kind, value); }
    void add(sb::LivenessMemfd::EventFields fields, EventKind kind, std::uint32_t value = 0) {
        fields.subscriber = site.id();
        if (fields.tunnel == 0) fields.tunnel = site.tunnels(0).id();
        fields.kind = static_cast<std::uint8_t>(kind);
        fields.value = value;
        if (fields.at_ns == 0) fields.at_ns = WallClock().monotonic_ns();
        table->add_event(fields);
    }
    // As they were written: kind and value.
    std::vector<std::string> logged() {
        std::int64_t id = 0;
        std::vector<std::string> out;
        for (const auto& e : log.after({}, id, 1'000'000))
            out.push_back(e.kind + " " + std::to_string(e.value));
        return out;
    }
};

using Words = std::vector<std::string>;

}  // namespace

TEST_CASE("a tunnel's state is found by its whole id, and only where there is one") {
    const auto table = make_table(1);
    auto state = state_of(0x02000005, State::Up);
    state.srtt_us = 4321;
    table->write_row(5, state);
    const auto map = map_of(*table);
    REQUIRE(map->tunnel(0x02000005));
    CHECK(map->tunnel(0x02000005)->srtt_us == 4321);
    CHECK_FALSE(map->tunnel(0x01000005));
    CHECK_FALSE(map->tunnel(0x02000006));
    CHECK_FALSE(map->tunnel(0x02000000 | kSlots));
    table->clear_row(5);
    CHECK_FALSE(map->tunnel(0x02000005));
}

TEST_CASE("tunnels are counted by state, wherever in the table they are") {
    const auto table = make_table(1);
    using Row = sb::LivenessState;
    table->write_row(0, state_of(0x01000000, State::Down));
    table->write_row(1, state_of(0x01000001, State::Up, Row::kActive));
    table->write_row(50'000, state_of(0x01000000 + 50'000, State::Up, Row::kSuspectTx));
    table->write_row(kSlots - 1, state_of(0x01000000 + kSlots - 1, State::Up,
                                          Row::kDegraded | Row::kDamped | Row::kActive));
    const LiveCounts counts = map_of(*table)->count();
    CHECK(counts.state == std::array<std::uint64_t, 4>{0, 1, 0, 3});
    CHECK(counts.active == 2);
    CHECK(counts.suspect == 1);
    CHECK(counts.degraded == 1);
    CHECK(counts.damped == 1);
}

TEST_CASE("statistics have the names of the engine's own") {
    const auto table = make_table(1);
    table->add_statistic(offsetof(liveness::Statistics, bad_tag) / 8, 7);
    table->add_statistic(offsetof(liveness::Statistics, false_downs) / 8, 1);
    std::map<std::string, std::uint64_t> by_name;
    for (const auto& [name, value] : map_of(*table)->statistics()) by_name[name] = value;
    CHECK(by_name.at("bad_tag") == 7);
    CHECK(by_name.at("false_downs") == 1);
    CHECK(by_name.at("sent") == 0);
    CHECK(by_name.size() == sizeof(liveness::Statistics) / 8);
}

TEST_CASE("a liveness table of another incarnation or size is refused") {
    const auto table = make_table(1);
    const auto map = [&](std::uint64_t bytes, std::uint8_t uuid) {
        LiveMap(FileDescriptor(::dup(table->fd())), bytes, {uuid});
    };
    CHECK_NOTHROW(map(table->bytes(), 1));
    CHECK_THROWS_AS(map(table->bytes(), 2), MemfdError);
    CHECK_THROWS_AS(map(table->bytes() - 4096, 1), MemfdError);
    CHECK_THROWS_AS(map(table->bytes() + 4096, 1), MemfdError);
    CHECK_THROWS_AS(LiveMap(FileDescriptor(), table->bytes(), {1}), MemfdError);
}

TEST_CASE("a liveness table that could shrink under its reader is refused") {
    const auto table = make_table(1);
    FileDescriptor copy(::memfd_create("liveness-test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    REQUIRE(::ftruncate(copy.get(), static_cast<off_t>(table->bytes())) == 0);
    std::vector<std::uint8_t> header(sizeof(sb::LivenessHeader));
    REQUIRE(::pread(table->fd(), header.data(), header.size(), 0) ==
            static_cast<ssize_t>(header.size()));
    REQUIRE(::pwrite(copy.get(), header.data(), header.size(), 0) ==
            static_cast<ssize_t>(header.size()));
    const auto map = [&] {
        LiveMap(FileDescriptor(::dup(copy.get())), table->bytes(), table->uuid());
    };
    CHECK_THROWS_WITH(map(), Catch::Contains("could shrink") && Catch::Contains("F_SEAL_SHRINK"));
    REQUIRE(::fcntl(copy.get(), F_ADD_SEALS, F_SEAL_SHRINK) == 0);
    CHECK_NOTHROW(map());
}

TEST_CASE("a state is told in the API's words") {
    const WallClock now;
    auto s = state_of(1, State::Up, sb::LivenessState::kSuspectRx | sb::LivenessState::kNatKnown);
    s.peer_state = static_cast<std::uint8_t>(State::Init);
    s.cause = static_cast<std::uint8_t>(Cause::HandshakeComplete);
    s.ineligible = static_cast<std::uint8_t>(Cause::WaitToRestore);
    s.restore_ms_left = 1500;
    s.since_ns = now.monotonic_ns() - 5'000'000'000;
    s.family = 6;
    s.endpoint = {0x20, 0x01, 0x0d, 0xb8};
    s.port = 4754;
    s.windows[0].loss_uplink_permille = 3;
    s.windows[0].loss_downlink_permille = 0xffff;
    v1::TunnelLiveness out;
    fill_liveness(s, now, out);
    CHECK(out.peer_state() == v1::TunnelStatus::STATE_UNSPECIFIED);
    CHECK(out.cause() == liveness::text(Cause::HandshakeComplete));
    CHECK(out.ineligible() == liveness::text(Cause::WaitToRestore));
    CHECK(out.restore_left_ms() == 1500);
    CHECK_FALSE(out.restore_on_trouble());
    CHECK(out.in_state_ms() == 5000);
    CHECK(time_us(out.since()) == now.now_us() - 5'000'000);
    CHECK(out.suspect_uplink());
    CHECK_FALSE(out.suspect_downlink());
    CHECK(out.has_nat());
    CHECK_FALSE(out.nat());
    CHECK(out.endpoint() == "[2001:db8::]:4754");
    CHECK(out.windows(0).loss_uplink_permille() == 3);
    CHECK_FALSE(out.windows(0).has_loss_downlink_permille());
    CHECK(out.windows(2).seconds() == 60);
    CHECK_FALSE(out.has_last_received_ms());
    CHECK(troubled(s));
    s.restore_ms_left = 0xffffffff;
    s.last_received_ns = now.monotonic_ns() - 40'000'000;
    fill_liveness(s, now, out);
    CHECK(out.peer_state() == v1::TunnelStatus::INIT);
    CHECK(out.last_received_ms() == 40);
    CHECK(out.restore_on_trouble());
    CHECK_FALSE(troubled(state_of(1, State::Up)));
    CHECK(troubled(state_of(1, State::Down)));
    CHECK(to_state(static_cast<std::uint8_t>(State::AdminDown)) == v1::TunnelStatus::ADMIN_DOWN);
}

TEST_CASE("limits that a line does not keep are told with what is measured") {
    auto policy = std::get<v1::Policy>(object(kPolicy));
    policy.mutable_classes(0)->set_max_rtt_ms(50);
    auto& voice = *policy.add_classes();
    voice.set_name("voice");
    voice.set_max_rtt_ms(150);
    voice.set_max_loss_permille(20);
    auto s = state_of(1, State::Up, 2U << sb::LivenessState::kViolatingShift);
    s.windows[0].rtt_avg_us = 182'000;
    s.windows[2].loss_uplink_permille = 0xffff;
    s.windows[2].loss_downlink_permille = 7;
    s.jitter_us = 900;
    v1::TunnelLiveness out;
    fill_broken_limits(s, policy, out);
    REQUIRE(out.broken_limits_size() == 1);
    const auto& broken = out.broken_limits(0);
    CHECK(broken.class_name() == "voice");
    CHECK(broken.max_rtt_ms() == 150);
    CHECK(broken.max_loss_permille() == 20);
    CHECK(broken.max_jitter_ms() == 0);
    CHECK(broken.rtt_us() == 182'000);
    CHECK(broken.loss_permille() == 7);
    CHECK(broken.jitter_us() == 900);
    CHECK(breaks_limits(s));
    CHECK(troubled(s));
    CHECK_FALSE(breaks_limits(state_of(1, State::Up, sb::LivenessState::kNat)));
}

TEST_CASE("an event is logged with the names of subscriber and line, and its outage") {
    Tailed t;
    sb::LivenessMemfd::EventFields fields{};
    fields.at_ns = WallClock().monotonic_ns() - 2'000'000'000;
    fields.outage_ns = 812'000'000;
    fields.from = static_cast<std::uint8_t>(State::Down);
    fields.to = static_cast<std::uint8_t>(State::Up);
    fields.cause = static_cast<std::uint8_t>(Cause::HandshakeComplete);
    fields.family = 4;
    fields.endpoint = {198, 51, 100, 7};
    fields.port = 4754;
    t.add(fields, EventKind::StateChanged);
    t.tail->poll();
    const std::int64_t now = WallClock().now_us();
    const auto page = t.log.list({"site-1", "", 0, {}}, 0, INT64_MAX, "", 10);
    REQUIRE(page.events.size() == 1);
    const LoggedEvent& e = page.events[0];
    CHECK(e.line == "a");
    CHECK(e.tunnel == t.site.tunnels(0).id());
    CHECK(e.kind == "state");
    CHECK(e.from == v1::TunnelStatus::DOWN);
    CHECK(e.to == v1::TunnelStatus::UP);
    CHECK(e.cause == liveness::text(Cause::HandshakeComplete));
    CHECK(e.outage_ns == 812'000'000);
    CHECK(e.endpoint == "198.51.100.7:4754");
    CHECK(e.at_us <= now - 2'000'000);
    CHECK(e.at_us > now - 60'000'000);
}

TEST_CASE("each event is logged once, those of while drd was away too") {
    Tailed t;
    t.add(EventKind::KeySwitched, 1);
    t.tail->poll();
    t.tail->poll();
    t.tail.reset();
    t.add(EventKind::KeySwitched, 2);
    t.tail = t.tail_from_here();
    t.map = map_of(*t.table);
    t.tail->poll();
    t.add(EventKind::KeySwitched, 3);
    t.tail->poll();
    CHECK(t.logged() == Words{"data-plane 0", "key 1", "key 2", "key 3"});
    CHECK(t.tail->status().missed == 0);
}

TEST_CASE("the last events of a data plane that has ended come before those of the next") {
    Tailed t;
    t.tail->poll();
    t.add(EventKind::KeySwitched, 1);
    const auto ended = std::move(t.table);
    t.table = make_table(2);
    t.map = map_of(*t.table);
    t.add(EventKind::KeySwitched, 2);
    t.tail->poll();
    CHECK(t.logged() == Words{"data-plane 0", "key 1", "data-plane 0", "key 2"});
}

TEST_CASE("events that were overwritten unread are counted and told of") {
    Tailed t;
    t.tail->poll();
    constexpr std::uint32_t kAll = sb::kLivenessEventSlots + 10;
    // Of as many tunnels: what one of them brings is limited.
    for (std::uint32_t i = 1; i <= kAll; ++i) {
        sb::LivenessMemfd::EventFields fields{};
        fields.tunnel = 0x01000000 + i;
        t.add(fields, EventKind::KeySwitched, i);
    }
    t.tail->poll();
    const auto logged = t.logged();
    REQUIRE(logged.size() == 2 + sb::kLivenessEventSlots);
    CHECK(logged[1] == "missed 10");
    CHECK(logged[2] == "key 11");
    CHECK(logged.back() == "key " + std::to_string(kAll));
    CHECK(t.tail->status().missed == 10);
}

TEST_CASE("events of a subscriber that is gone are logged without its name") {
    Tailed t;
    t.add(EventKind::MoveStarted);
    t.catalog.apply_one({Request::Mode::Delete, t.site});
    t.tail->poll();
    CHECK(t.logged() == Words{"data-plane 0", "move-started 0"});
    CHECK(t.log.list({}, 0, INT64_MAX, "", 1).events[0].subscriber.empty());
}

TEST_CASE("every kind of event has a name of its own, and values are told in words") {
    const auto kinds = event_kinds();
    CHECK(std::set<std::string>(kinds.begin(), kinds.end()).size() == kinds.size());
    CHECK(event_detail("suspect", 1) == "uplink");
    CHECK(event_detail("degraded", 5) == "in class 1 3");
    CHECK(event_detail("congested", 1) == "uplink");
    CHECK(event_detail("congested", 0) == "no more");
    CHECK(event_detail("nat", 0) == "there is no NAT");
    CHECK(event_detail("detection-time", 350'000) == "down after 350.0 ms of silence");
    CHECK(event_detail("missed", 12) == "12 events were overwritten unread");
    CHECK(event_detail("state", 3).empty());
}

}  // namespace dr::control::test
