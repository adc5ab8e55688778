// The swarm of simulated URs, against an engine in the DR's role instead of a data plane.
#include "tests/swarm/swarm.h"

#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstring>
#include <deque>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "tests/swarm/capture.h"

using namespace dr;
using namespace dr::swarm;
using namespace dr::liveness;

namespace {

using Frame = std::vector<std::uint8_t>;

// Site n has line 0 in GRE-in-UDP over IPv4 and line 1 over IPv6, native GRE at odd sites.
std::string fleet_text(unsigned sites) {
    std::string text;
    for (unsigned n = 0; n < sites; ++n)
        for (unsigned line = 0; line < 2; ++line) {
            const std::string id = std::to_string((1U << 24) + 1 + 2 * n + line);
            const std::string number = std::to_string(n);
            text += number + ' ' + std::to_string(line) + ' ' + id + " 1 " +
                    std::string(64, "0123456789abcdef"[id.back() % 16]) + " fixed " +
                    (line == 0 ? "10.0.0." + number + " 20000 192.0.2.1\n"
                               : "2001:db8:b::" + number + (n % 2 == 0 ? " 20000" : " 0") +
                                     " 2001:db8:ff::1\n");
        }
    return text;
}

Fleet fleet_of(unsigned sites) {
    Fleet fleet;
    std::string error;
    std::istringstream in(fleet_text(sites));
    const bool good = read_fleet(in, &fleet, &error);
    INFO(error);
    REQUIRE(good);
    return fleet;
}

class Queue final : public swarm::Wire {
  public:
    std::span<std::uint8_t> frame() override { return buffer_; }
    void commit(unsigned size) override {
        frames.emplace_back(buffer_.begin(), buffer_.begin() + size);
    }
    std::deque<Frame> frames;

  private:
    std::array<std::uint8_t, kMaxFrame> buffer_{};
};

// A DR of the engine alone: learns endpoints, answers, and turns data round as a data plane does.
class Dr final : public Host {
  public:
    Dr(const Fleet& fleet, Time now, std::uint64_t salt) : fleet_(fleet), random_(salt) {
        engine_ = Engine::create(
            {}, {static_cast<std::uint32_t>(fleet.tunnels.size()), fleet.sites, 1, 8}, *this,
            nullptr);
        liveness::Policy policy;
        policy.klass[0].tier.fill(0);
        engine_->set_policy(now, 0, policy);
        std::vector<GroupRef> groups;
        for (const FleetTunnel& from : fleet.tunnels) {
            if (from.site == groups.size()) groups.push_back(engine_->add_group(now, {}));
            TunnelConfig tunnel;
            tunnel.group = groups.back();
            tunnel.line = from.line;
            tunnel.id = from.id;
            tunnel.keys[0] = from.key;
            engine_->add_tunnel(now, tunnel);
        }
    }

    void receive(Time now, const Frame& frame) {
        const Arrived arrived = read_frame(frame);
        const std::uint32_t number = (arrived.key & 0xffffff) - 1;
        if (arrived.kind == Arrived::Kind::Keepalive)
            engine_->receive(now, {number}, arrived.payload, arrived.source);
        else if (arrived.kind == Arrived::Kind::TunnelData)
            turn_uplink(number, arrived);
        else
            turn_downlink();
    }
    Time run(Time now) { return engine_->run(now); }

    void send(TunnelRef tunnel, const Endpoint& to, std::span<const std::uint8_t> m) override {
        const FleetTunnel& t = fleet_.tunnels[tunnel.value];
        CHECK(to == t.ur);
        emit(TunnelHeader(t.dr, t.ur, t.id), wire::kEtherKeepalive, m);
    }
    void bind(TunnelRef, const Endpoint&) override {}
    void choice(GroupRef, const Choice&) override {}
    void event(const Event&) override {}
    DataCounters data_counters(TunnelRef tunnel) override { return data_[tunnel.value]; }
    void bucket_ages(GroupRef, std::span<std::uint32_t, kBuckets> ages) override {
        std::fill(ages.begin(), ages.end(), kAgeSettled);
    }
    std::uint64_t random() override { return random_ = random_ * 6364136223846793005ULL + 99; }

    std::deque<Frame> out;

  private:
    void emit(const TunnelHeader& header, std::uint16_t type, std::span<const std::uint8_t> bytes) {
        Frame frame(kMaxFrame);
        frame.resize(header.write(type, bytes, frame));
        out.push_back(frame);
    }
    void turn_uplink(std::uint32_t number, const Arrived& arrived) {
        ++data_[number].received;
        Frame frame(14 + arrived.payload.size());
        frame[12] = 8;
        std::copy(arrived.payload.begin(), arrived.payload.end(), frame.begin() + 14);
        out.push_back(frame);
    }
    void turn_downlink() {
        const FleetTunnel& t = fleet_.tunnels[0];
        std::array<std::uint8_t, kInnerPacket> inner{};
        ++data_[0].sent;
        emit(TunnelHeader(t.dr, t.ur, t.id), wire::kEtherIpv4, inner);
    }

    const Fleet& fleet_;
    std::vector<DataCounters> data_ = std::vector<DataCounters>(fleet_.tunnels.size());
    std::uint64_t random_;
    std::unique_ptr<Engine> engine_;
};

struct Lab {
    explicit Lab(unsigned sites) : fleet(fleet_of(sites)), dr(new Dr(fleet, now, 1)) {
        std::string error;
        swarm = Swarm::create(fleet, queue, 7, &error);
        REQUIRE(swarm != nullptr);
    }
    void restart_dr() { dr = std::make_unique<Dr>(fleet, now, 1000); }
    void run(Time duration) {
        for (const Time end = now + duration; now < end; now += 5 * kMillisecond) {
            for (const Frame& frame : std::exchange(queue.frames, {})) dr->receive(now, frame);
            for (const Frame& frame : std::exchange(dr->out, {})) swarm->receive(now, frame);
            dr->run(now);
            swarm->run(now);
        }
    }

    Time now = 1'000 * kSecond;
    Fleet fleet;
    Queue queue;
    std::unique_ptr<Dr> dr;
    std::unique_ptr<Swarm> swarm;
};

std::string refusal(const std::string& text) {
    Fleet fleet;
    std::string error;
    std::istringstream in(text);
    return read_fleet(in, &fleet, &error) ? "" : error;
}

}  // namespace

TEST_CASE("a fleet is read from its file, and a mistake is named with its line") {
    const Fleet fleet = fleet_of(3);
    REQUIRE(fleet.tunnels.size() == 6);
    CHECK(fleet.sites == 3);
    CHECK(fleet.tunnels[3].ur.port == 0);
    CHECK(fleet.tunnels[3].dr.port == 0);
    CHECK(fleet.tunnels[4].ur.address[3] == 2);
    CHECK(fleet.tunnels[4].dr.port == 4754);
    const std::string good = fleet_text(1);
    CHECK(refusal("").find("no tunnel") != std::string::npos);
    CHECK(refusal(good + "1 0 7\n").find("line 3: nine fields") != std::string::npos);
    std::string gap = fleet_text(2).substr(good.size());
    CHECK(refusal(gap).find("line 1: SITE") != std::string::npos);
    std::string families = good;
    families.replace(families.find("192.0.2.1"), 9, "2001::1  ");
    CHECK(refusal(families).find("one family") != std::string::npos);
    std::string profile = good;
    profile.replace(profile.find("fixed"), 5, "quick");
    CHECK(refusal(profile).find("not quick") != std::string::npos);
}

TEST_CASE("a frame of each kind is read as it was written, and a broken one is none") {
    const Fleet fleet = fleet_of(2);
    const std::array<std::uint8_t, 5> payload{1, 2, 3, 4, 5};
    for (const FleetTunnel& t : fleet.tunnels) {
        Frame frame(kMaxFrame);
        frame.resize(TunnelHeader(t.ur, t.dr, t.id).write(wire::kEtherKeepalive, payload, frame));
        const Arrived arrived = read_frame(frame);
        CHECK(arrived.kind == Arrived::Kind::Keepalive);
        CHECK(arrived.key == t.id);
        CHECK(arrived.source == t.ur);
        CHECK(std::equal(arrived.payload.begin(), arrived.payload.end(), payload.begin(),
                         payload.end()));
        frame.pop_back();
        CHECK(read_frame(frame).kind == Arrived::Kind::Other);
    }
    Frame plain(kMaxFrame);
    plain.resize(write_plain(kSites + 9, kInternetHost, 1, plain));
    CHECK(plain.size() == 60);
    CHECK(read_frame(plain).kind == Arrived::Kind::Plain);
    CHECK(read_frame(plain).inner_source == kSites + 9);
    CHECK(read_frame({}).kind == Arrived::Kind::Other);
}

TEST_CASE("every tunnel of a swarm comes up against a DR, and stays up") {
    Lab lab(50);
    CHECK(lab.swarm->start(lab.now, 30) == 70);
    lab.run(kSecond);
    CHECK(lab.swarm->up() == 30);
    CHECK(lab.swarm->start(lab.now, 1000) == 0);
    lab.run(10 * kSecond);
    CHECK(lab.swarm->up() == 100);
    CHECK(lab.swarm->settled() == 50);
    CHECK(lab.swarm->statistics().downs == 0);
    CHECK(lab.swarm->strays() == 0);
    // Both lines carry: about 11 keepalives a second each.
    const std::uint64_t before = lab.swarm->statistics().received;
    lab.run(10 * kSecond);
    CHECK(lab.swarm->statistics().received - before >= 100 * 10 * 10);
}

TEST_CASE("data is counted where it is delivered, and only lines that are up carry it") {
    Lab lab(4);
    lab.swarm->start(lab.now, 8);
    lab.swarm->set_traffic(lab.now, 1000, 500);
    lab.run(10 * kMillisecond);
    CHECK(lab.swarm->data().uplink_sent == 0);
    lab.run(5 * kSecond);
    const DataTotals& data = lab.swarm->data();
    CHECK(data.uplink_sent > 4'500);
    CHECK(data.uplink_delivered + 20 > data.uplink_sent);
    CHECK(data.downlink_sent > 2'000);
    CHECK(data.downlink_delivered + 20 > data.downlink_sent);
    CHECK(data.downlink_delivered <= data.downlink_sent);
}

TEST_CASE("when a line is cut at every site the other carries on, and the cut one comes back") {
    Lab lab(10);
    lab.swarm->start(lab.now, 20);
    lab.run(12 * kSecond);
    REQUIRE(lab.swarm->settled() == 10);
    lab.swarm->cut(1, true);
    lab.run(2 * kSecond);
    CHECK(lab.swarm->up() == 10);
    CHECK(lab.swarm->statistics().downs == 10);
    lab.swarm->cut(1, false);
    lab.run(15 * kSecond);
    CHECK(lab.swarm->up() == 20);
    CHECK(lab.swarm->statistics().downs == 10);
}

TEST_CASE("after a restart of the DR the swarm tells when each tunnel was up again") {
    Lab lab(10);
    lab.swarm->start(lab.now, 20);
    lab.swarm->set_traffic(lab.now, 1000, 0);
    lab.run(3 * kSecond);
    REQUIRE(lab.swarm->up() == 20);
    const Time restart = lab.now;
    lab.restart_dr();
    lab.queue.frames.clear();
    lab.swarm->mark();
    lab.run(3 * kSecond);
    CHECK(lab.swarm->up() == 20);
    CHECK(lab.swarm->downs().size() == 20);
    for (const Time up : lab.swarm->recovery().up) {
        CHECK(up >= restart);
        CHECK(up < restart + kSecond);
    }
    for (const Time first : lab.swarm->recovery().uplink) CHECK(first >= restart);
}

TEST_CASE("keepalives are captured as a pcap of the asked length") {
    const std::string path =
        std::filesystem::temp_directory_path() / ("swarm-" + std::to_string(getpid()) + ".pcap");
    Lab lab(5);
    auto capture = Capture::create(path, 7);
    REQUIRE(capture != nullptr);
    unsigned sent = 0;
    bool complete = false;
    lab.swarm->observe([&](bool outward, std::span<const std::uint8_t> frame) {
        if (!outward || complete) return;
        ++sent;
        CHECK(read_frame(frame).kind == Arrived::Kind::Keepalive);
        complete = !capture->add(frame);
    });
    lab.swarm->start(lab.now, 10);
    lab.run(kSecond);
    CHECK(complete);
    CHECK(sent == 7);
    std::ifstream file(path, std::ios::binary);
    std::array<std::uint32_t, 10> head{};
    file.read(reinterpret_cast<char*>(head.data()), sizeof head);
    CHECK(head[0] == 0xa1b2c3d4);
    CHECK(head[8] == head[9]);
    CHECK(std::filesystem::file_size(path) > 24 + 7 * (16 + 14 + 20 + 8 + 8 + 56));
    std::filesystem::remove(path);
    CHECK(Capture::create("/nonexistent/x.pcap", 1) == nullptr);
}
