#include <catch2/catch.hpp>

#include "dataplane/liveness/auth.h"
#include "tests/unit/liveness/liveness_world.h"

using namespace dr::liveness;
using namespace dr::liveness::test;

namespace {

Endpoint stranger() {
    return World::ur_endpoint(77);
}

// The newest message that an end sent over line 0.
struct Recorder {
    explicit Recorder(World& w) {
        w.tap = [this](const Packet& p) {
            if (p.line == 0 && p.to_dr) to_dr.push_back(p.bytes);
            if (p.line == 0 && !p.to_dr) to_ur.push_back(p.bytes);
        };
    }
    std::vector<std::vector<std::uint8_t>> to_dr, to_ur;
};

}  // namespace

TEST_CASE("forged, cut, reflected messages and those of another tunnel change and earn nothing") {
    World w;
    Recorder recorder(w);
    w.run(2 * kSecond);
    const auto genuine = recorder.to_dr.back();
    const auto reflected = recorder.to_ur.back();
    const Statistics before = w.dr.engine->statistics();
    const auto sent = w.dr.sent;
    for (std::size_t i = 0; i < genuine.size(); ++i) {
        auto forged = genuine;
        forged[i] = static_cast<std::uint8_t>(forged[i] ^ 0x10);
        w.inject(w.dr, 0, forged, World::ur_endpoint(0));
        w.inject(w.dr, 0, forged, stranger());
    }
    for (std::size_t size = 0; size < genuine.size(); ++size) {
        w.inject(w.dr, 0, {genuine.begin(), genuine.begin() + static_cast<long>(size)}, stranger());
    }
    w.inject(w.dr, 0, reflected, World::ur_endpoint(0));
    w.inject(w.dr, 1, genuine, World::ur_endpoint(1));
    const Statistics after = w.dr.engine->statistics();
    CHECK(w.dr.sent == sent);
    CHECK(after.received == before.received);
    CHECK(after.bad_tag > before.bad_tag);
    CHECK(after.challenges_sent == before.challenges_sent);
    CHECK(w.state(w.dr, 0) == State::Up);
}

TEST_CASE(
    "a replayed message is dropped without an answer, from the bound source and from another") {
    World w;
    Recorder recorder(w);
    w.run(2 * kSecond);
    const auto sent = w.dr.sent;
    const auto received = w.dr.engine->statistics().received;
    const std::vector<std::vector<std::uint8_t>> recorded = recorder.to_dr;
    for (std::size_t i = 0; i + 3 < recorded.size(); ++i) {  // the newest may be on their way
        w.inject(w.dr, 0, recorded[i], World::ur_endpoint(0));
        w.inject(w.dr, 0, recorded[i], stranger());
    }
    CHECK(w.dr.sent == sent);
    CHECK(w.dr.engine->statistics().received == received);
    CHECK(w.dr.engine->statistics().replayed >= recorded.size());
}

TEST_CASE("the replay window takes each of 64 late messages once and nothing older") {
    ReplayWindow window;
    window.mark(100);
    CHECK_FALSE(window.fresh(100));
    CHECK(window.fresh(37));
    CHECK_FALSE(window.fresh(36));
    window.mark(37);
    CHECK_FALSE(window.fresh(37));
    window.mark(101);
    CHECK_FALSE(window.fresh(37));
    CHECK(window.fresh(38));
    window.mark(500);
    CHECK(window.fresh(499));
    CHECK_FALSE(window.fresh(101));
    window.restart(7);
    CHECK_FALSE(window.fresh(6));
    CHECK(window.fresh(8));
}

TEST_CASE("messages of an earlier start of the peer are challenged, and not believed") {
    World w;
    Recorder recorder(w);
    w.run(2 * kSecond);
    const auto old = recorder.to_dr;
    w.restart(false);
    w.run(2 * kSecond);
    REQUIRE(w.state(w.dr, 0) == State::Up);
    const auto adopted = w.dr.engine->statistics().adopted_salts;
    unsigned answers = 0;
    std::size_t largest = 0;
    w.tap = [&](const Packet& p) {
        if (p.to_dr || p.line != 0) return;
        ++answers;
        largest = std::max(largest, p.bytes.size());
    };
    for (const auto& message : old) w.inject(w.dr, 0, message, stranger());
    CHECK(answers == 1);  // limited in rate
    CHECK(largest == dr::wire::kTokenSize);
    w.run(3 * kSecond);
    CHECK(w.dr.engine->statistics().adopted_salts == adopted);
    CHECK(w.dr.engine->statistics().challenges_limited >= old.size() - 2);
    CHECK(w.state(w.dr, 0) == State::Up);
    CHECK(w.dr.bound[0] == World::ur_endpoint(0));
}

TEST_CASE(
    "messages of earlier starts of the peer, replayed without end, delay no new start of it") {
    World w;
    Recorder recorder(w);
    w.run(2 * kSecond);
    std::vector<std::vector<std::uint8_t>> old = recorder.to_dr;
    const auto old_down = recorder.to_ur;
    w.restart(false);
    w.restart(true);
    w.run(kSecond);
    old.insert(old.end(), recorder.to_dr.begin(), recorder.to_dr.end());
    w.restart(false);
    w.restart(true);
    const Time start = w.now;
    std::size_t n = 0;
    const auto replayed = [&] {
        for (unsigned i = 0; i < 20; ++i, ++n) {
            const Endpoint from = n % 2 != 0 ? World::ur_endpoint(0)
                                             : World::ur_endpoint(static_cast<unsigned>(n % 251));
            w.inject(w.dr, 0, old[n % old.size()], from);
            w.inject(w.ur, 0, old_down[n % old_down.size()], World::dr_endpoint());
        }
        return w.state(w.dr, 0) == State::Up && w.state(w.ur, 0) == State::Up;
    };
    REQUIRE(w.run_until(replayed, 5 * kSecond));
    CHECK(w.now - start < kSecond);
    CHECK(w.dr.bound[0] == World::ur_endpoint(0));
}

TEST_CASE("an answer is void after its time, elsewhere, for another salt, and once it was used") {
    const Tokens tokens({1, 2});
    const Time now = 100 * kSecond;
    const Endpoint here = World::ur_endpoint(0);
    const std::uint64_t token = tokens.make(now, 5, 0, 99, here);
    CHECK(tokens.valid(token, now + 3 * kSecond, 5, 0, 99, here));
    CHECK_FALSE(tokens.valid(token, now + 8 * kSecond, 5, 0, 99, here));
    CHECK_FALSE(tokens.valid(token, now, 6, 0, 99, here));
    CHECK_FALSE(tokens.valid(token, now, 5, 1, 99, here));
    CHECK_FALSE(tokens.valid(token, now, 5, 0, 98, here));
    CHECK_FALSE(tokens.valid(token, now, 5, 0, 99, stranger()));
}

TEST_CASE("a UR whose address changes is followed within two round trips of its first message") {
    World w;
    w.run(20 * kSecond);
    w.ur_seen_as[0] = stranger();
    Time first = 0;
    w.tap = [&](const Packet& p) {
        if (p.to_dr && p.line == 0 && first == 0) first = w.now + w.up[0].delay;
    };
    REQUIRE(w.run_until([&] { return w.dr.bound[0] == stranger(); }, kSecond));
    CHECK(w.now - first <= 2 * 20 * kMillisecond + 2 * kMillisecond);
    w.run(2 * kSecond);
    CHECK(w.state(w.dr, 0) == State::Up);
    CHECK(w.state(w.ur, 0) == State::Up);
    CHECK(w.dr.count(EventKind::EndpointAdopted) == 3);  // two lines at first, and this
    CHECK(w.dr.count_to(State::Down) == 0);
}

TEST_CASE("a fresh message that somebody sends on from elsewhere does not move the tunnel") {
    World w;
    w.run(2 * kSecond);
    std::vector<std::uint8_t> stolen;
    w.up[0].drop = [&](const Packet& p) {
        if (!stolen.empty()) return false;
        stolen = p.bytes;
        return true;
    };
    REQUIRE(w.run_until([&] { return !stolen.empty(); }, kSecond));
    const auto sent = w.dr.sent;
    w.inject(w.dr, 0, stolen, stranger());
    CHECK(w.dr.sent == sent + 1);  // a challenge, which the thief cannot answer
    w.run(5 * kSecond);
    CHECK(w.dr.bound[0] == World::ur_endpoint(0));
    CHECK(w.state(w.dr, 0) == State::Up);
}

TEST_CASE("a UR does not follow its DR to another address") {
    World w;
    Recorder recorder(w);
    w.run(2 * kSecond);
    std::vector<std::uint8_t> fresh;
    w.down[0].drop = [&](const Packet& p) {
        fresh = p.bytes;
        return true;
    };
    w.run(300 * kMillisecond);
    const auto sent = w.ur.sent;
    w.inject(w.ur, 0, fresh, stranger());
    CHECK(w.ur.sent == sent);
    CHECK(w.ur.engine->statistics().other_source == 1);
}

TEST_CASE("a key is changed without a change of state, and the old one is refused afterwards") {
    World w;
    Recorder recorder(w);
    w.run(2 * kSecond);
    const auto configure = [&](End& end, unsigned count) {
        TunnelConfig config = w.tunnel_config(end, 0);
        config.keys[1] = config.keys[0];
        config.keys[0].number = 2;
        config.keys[0].bytes.fill(0xaa);
        config.key_count = static_cast<std::uint8_t>(count);
        REQUIRE(end.engine->update_tunnel(w.now, end.tunnels[0], config));
    };
    configure(w.dr, 2);
    w.run(kSecond);
    CHECK(w.status(w.dr, 0).key_number == 1);  // the UR has not shown that it knows the new one
    std::vector<std::uint8_t> late;
    w.up[0].drop = [&](const Packet& p) {
        if (!late.empty()) return false;
        late = p.bytes;
        return true;
    };
    w.run(200 * kMillisecond);
    configure(w.ur, 2);
    w.run(kSecond);
    CHECK(w.status(w.dr, 0).key_number == 2);
    REQUIRE_FALSE(late.empty());
    w.inject(w.dr, 0, late, World::ur_endpoint(0));
    CHECK(w.status(w.dr, 0).key_number == 2);
    CHECK(w.status(w.ur, 0).key_number == 2);
    configure(w.dr, 1);
    configure(w.ur, 1);
    w.run(3 * kSecond);
    CHECK(w.state(w.dr, 0) == State::Up);
    CHECK(w.dr.count_to(State::Down) == 0);
    CHECK(w.ur.count_to(State::Down) == 0);
    const auto unknown = w.dr.engine->statistics().unknown_key;
    w.inject(w.dr, 0, recorder.to_dr.front(), World::ur_endpoint(0));
    CHECK(w.dr.engine->statistics().unknown_key == unknown + 1);
}

TEST_CASE("a DR that has lost its state carries the tunnel again within a second") {
    World w;
    w.run(20 * kSecond);
    w.restart(true);
    CHECK(w.run_until(
        [&] {
            return w.state(w.dr, 0) == State::Up && w.state(w.ur, 0) == State::Up &&
                   w.state(w.dr, 1) == State::Up && w.ur.eligible() == 3 && w.dr.eligible() == 3;
        },
        kSecond));
    CHECK(w.ur.count(EventKind::PeerRestarted) == 2);
    CHECK(w.status(w.ur, 0).flaps == 0);  // nobody's line failed
    w.run(10 * kSecond);
    CHECK(w.ur.eligible() == 3);
}

TEST_CASE("a UR that has lost its state carries the tunnel again within a second, without a wait") {
    World w;
    w.run(20 * kSecond);
    w.restart(false);
    CHECK(w.run_until(
        [&] { return w.state(w.ur, 0) == State::Up && w.state(w.ur, 1) == State::Up; }, kSecond));
    w.run(100 * kMillisecond);
    CHECK(w.dr.eligible() == 3);
    CHECK(w.ur.eligible() == 3);
    CHECK(w.status(w.dr, 0).flaps == 0);
}

static std::vector<std::uint32_t> nat_events(const End& end) {
    std::vector<std::uint32_t> values;
    for (const Event& event : end.events)
        if (event.kind == EventKind::NatChanged) values.push_back(event.value);
    return values;
}

// Of the first tunnel, the first time.
static Time nat_told_at(const End& end) {
    for (const Event& event : end.events)
        if (event.kind == EventKind::NatChanged && event.tunnel == end.tunnels[0]) return event.at;
    return 0;
}

TEST_CASE("a NAT between is found by the UR and told to the DR, and so is its absence") {
    World w;
    w.run(3 * kSecond);
    CHECK(w.status(w.ur, 0).nat_known);
    CHECK_FALSE(w.status(w.ur, 0).nat);
    CHECK(w.status(w.dr, 0).nat_known);
    CHECK_FALSE(w.status(w.dr, 0).nat);
    // Both know that the other knows it, the UR last.
    CHECK(nat_events(w.dr) == std::vector<std::uint32_t>{0, 0});
    CHECK(nat_events(w.ur) == std::vector<std::uint32_t>{0, 0});
    CHECK(nat_told_at(w.dr) < nat_told_at(w.ur));
    w.ur_seen_as[0].port = 61000;
    w.run(5 * kSecond);
    CHECK(nat_events(w.dr).back() == 1);
    CHECK(nat_events(w.ur).back() == 1);
    CHECK(w.status(w.ur, 0).nat);
    CHECK(w.status(w.dr, 0).nat);
    CHECK_FALSE(w.status(w.dr, 1).nat);
}

TEST_CASE("after a change of the UR's port nobody relies on what was found of a NAT before") {
    World w;
    w.run(3 * kSecond);
    REQUIRE(nat_events(w.ur) == std::vector<std::uint32_t>{0, 0});
    Endpoint moved = World::ur_endpoint(0);
    moved.port = 61000;
    w.ur_seen_as[0] = moved;
    w.ur.engine->set_local(w.now, w.ur.tunnels[0], moved);
    CHECK(nat_events(w.ur).back() == 2);
    CHECK_FALSE(w.status(w.ur, 0).nat_known);
    w.run(3 * kSecond);
    CHECK(nat_events(w.dr) == std::vector<std::uint32_t>{0, 0, 2, 0});
    CHECK(nat_events(w.ur) == std::vector<std::uint32_t>{0, 0, 2, 0});
}

TEST_CASE("two ends that start at the same moment and challenge each other come up") {
    World w;
    for (unsigned line = 0; line < 2; ++line) {
        TunnelConfig config = w.tunnel_config(w.dr, line);
        config.peer = World::ur_endpoint(line);
        REQUIRE(w.dr.engine->update_tunnel(w.now, w.dr.tunnels[line], config));
    }
    CHECK(
        w.run_until([&] { return w.state(w.dr, 0) == State::Up && w.state(w.ur, 0) == State::Up; },
                    100 * kMillisecond));
}
