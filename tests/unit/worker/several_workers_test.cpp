// Several workers on several queues, while the writer changes the tables under them.
#include <catch2/catch.hpp>
#include <cstring>
#include <map>
#include <set>

#include "dataplane/wire/checksum.h"
#include "tests/support/fleet.h"

using namespace dr;
using namespace dr::test;

namespace {

struct Started {
    Started() { REQUIRE(start_eal()); }
};

constexpr std::uint32_t kFlows = 64;
constexpr std::uint32_t kPackets = 150;  // of each flow

void fill(Fleet& fleet) {
    for (std::uint32_t i = 0; i < kPackets; ++i)
        for (std::uint32_t flow = 0; flow < kFlows; ++flow) fleet.send(flow);
}

// Each packet once, on the right port, in its flow's order, by one worker for each flow.
void check_sent(const std::vector<Sent>& all) {
    std::map<std::uint32_t, std::vector<std::uint32_t>> order;
    std::map<std::uint32_t, std::set<unsigned>> workers;
    std::size_t wrong_port = 0;
    for (const Sent& sent : all) {
        order[sent.tag.flow].push_back(sent.tag.sequence);
        workers[sent.tag.flow].insert(sent.worker);
        wrong_port += sent.port != (sent.tag.flow % 2 == 0 ? 1U : 0U);
    }
    CHECK(all.size() == std::size_t{kFlows} * kPackets);
    CHECK(order.size() == kFlows);
    CHECK(wrong_port == 0);
    std::vector<std::uint32_t> expected(kPackets);
    for (std::uint32_t i = 0; i < kPackets; ++i) expected[i] = i;
    std::size_t out_of_order = 0;
    std::size_t shared = 0;
    for (const auto& [flow, sequences] : order) out_of_order += sequences != expected;
    for (const auto& [flow, by] : workers) shared += by.size() != 1;
    CHECK(out_of_order == 0);
    CHECK(shared == 0);
}

void check_counters(const Fleet& fleet) {
    const std::uint64_t half = fleet.sent() / 2;
    CHECK(fleet.exits() == fleet.sent());
    CHECK(fleet.exit(Exit::ForwardedDownlink) == half);
    CHECK(fleet.exit(Exit::ForwardedUplink) == half);
    for (unsigned port = 0; port < 2; ++port) {
        CHECK(fleet.port_counters(port).rx_packets == half);
        CHECK(fleet.port_counters(port).tx_packets == half);
    }
    std::uint64_t down = 0;
    std::uint64_t up = 0;
    for (unsigned n = 1; n <= kSubscribers; ++n) {
        down += fleet.tunnel_counters(Pipeline::tunnel_id(n, n - 1)).downlink_packets;
        up += fleet.tunnel_counters(Pipeline::tunnel_id(n, n - 1)).uplink_packets;
    }
    CHECK(down == half);
    CHECK(up == half);
}

// Writes tunnel rows and prefixes anew without end, as the table writer does: a new row is
// published, the old one spoilt once every worker has let go of it.
class Writer {
  public:
    explicit Writer(Fleet& fleet) : t_(fleet.tables()) {
        for (std::uint32_t n = 1; n <= kSubscribers; ++n) current_[n] = slot(n);
    }
    void step() {
        const std::uint32_t n = 1 + rounds_ % kSubscribers;
        if (retired_[n] == kNoRow) {
            replace(n);
        } else if (t_.qsbr.passed(tokens_[n])) {
            t_.tunnels[retired_[n]].header.fill(0xee);
            t_.tunnels[retired_[n]].subscriber = 0xeeeeee;
            retired_[n] = kNoRow;
            ++replaced_;
        }
        // A longer prefix with the same meaning comes and goes: groups are taken and reclaimed.
        const Lpm4::Address host{203, 0, 113, static_cast<std::uint8_t>(8 * n + 1)};
        if (rounds_ / kSubscribers % 2 == 0)
            t_.lpm4->insert(host, 32, Target(TargetKind::Subscriber, n));
        else
            t_.lpm4->remove(host, 32);
        t_.lpm4->reclaim();
        ++rounds_;
    }
    [[nodiscard]] unsigned replaced() const { return replaced_; }

    // Of every second version of a header.
    static constexpr std::uint8_t kOtherTtl = 99;

  private:
    static std::uint32_t slot(std::uint32_t n) { return n * 16 + n - 1; }

    void replace(std::uint32_t n) {
        const std::uint32_t fresh = current_[n] == slot(n) ? 100 + n : slot(n);
        if (fresh == slot(n))
            restore(n);
        else
            make_other(n, fresh);
        t_.subscribers[n].slot[n - 1].store(fresh, std::memory_order_release);
        t_.tunnel_of_slot[slot(n)].store(fresh, std::memory_order_release);
        retired_[n] = current_[n];
        current_[n] = fresh;
        tokens_[n] = t_.qsbr.retire();
    }
    // The same tunnel as it was, or with another TTL and the checksum that goes with it.
    void restore(std::uint32_t n) { copy(n, slot(n), original_[n]); }
    void make_other(std::uint32_t n, std::uint32_t fresh) {
        if (!known_[n]) {
            original_[n].header = t_.tunnels[slot(n)].header;
            original_[n].flags = t_.tunnels[slot(n)].flags;
            original_[n].mtu = t_.tunnels[slot(n)].mtu;
            known_[n] = true;
        }
        Kept other = original_[n];
        auto& h = other.header;
        if ((other.flags & TunnelRow::kIpv6) != 0) {
            h[7] = kOtherTtl;
        } else {
            h[8] = kOtherTtl;
            std::memset(h.data() + 10, 0, 2);
            const Be16 sum = wire::checksum(h.data(), 20);
            std::memcpy(h.data() + 10, &sum, 2);
        }
        copy(n, fresh, other);
    }
    struct Kept {
        std::array<std::uint8_t, 56> header;
        std::uint8_t flags;
        std::uint16_t mtu;
    };
    void copy(std::uint32_t n, std::uint32_t row, const Kept& from) {
        TunnelRow& to = t_.tunnels[row];
        to.header = from.header;
        to.subscriber = n & 0xffffffU;
        to.flags = from.flags;
        to.mtu = from.mtu;
        to.next_hop = 2;
    }

    Tables& t_;
    std::array<std::uint32_t, kSubscribers + 1> current_{}, retired_{};
    std::array<Qsbr::Token, kSubscribers + 1> tokens_{};
    std::array<Kept, kSubscribers + 1> original_{};
    std::array<bool, kSubscribers + 1> known_{};
    std::uint32_t rounds_ = 0;
    unsigned replaced_ = 0;
};

// The outer header is one of the two, whole: TTL and, over IPv4, the checksum that goes with it.
bool sound_outer(const Bytes& frame) {
    const std::uint8_t* ip = frame.data() + 14;
    const bool v6 = ip[0] >> 4 == 6;
    const std::uint8_t ttl = v6 ? ip[7] : ip[8];
    if (ttl != 64 && ttl != Writer::kOtherTtl) return false;
    return v6 || wire::checksum_ok(ip, 20);
}

}  // namespace

TEST_CASE_METHOD(Started,
                 "several workers in turns: each packet once, flows in order, counters add up") {
    for (const auto& [workers, queues] : {std::pair{2, 2}, {2, 4}, {3, 4}, {4, 4}, {4, 3}}) {
        CAPTURE(workers, queues);
        Fleet fleet(static_cast<unsigned>(workers), static_cast<std::uint16_t>(queues));
        fill(fleet);
        fleet.run_in_turns();
        check_sent(fleet.collect());
        check_counters(fleet);
        CHECK(rte_mempool_in_use_count(fleet.pool()) == 0);
    }
}

TEST_CASE_METHOD(Started,
                 "several workers on threads of their own: each packet once, flows in order, "
                 "counters add up, whatever the writer changes meanwhile",
                 "[threads]") {
    for (const auto& [workers, queues] : {std::pair{2, 2}, {3, 4}, {4, 4}}) {
        CAPTURE(workers, queues);
        Fleet fleet(static_cast<unsigned>(workers), static_cast<std::uint16_t>(queues));
        Writer writer(fleet);
        fill(fleet);
        fleet.run([&] { writer.step(); });
        const std::vector<Sent> all = fleet.collect();
        check_sent(all);
        check_counters(fleet);
        std::size_t torn = 0;
        for (const Sent& sent : all) torn += sent.port == 1 && !sound_outer(sent.frame);
        CHECK(torn == 0);
        // The writer goes on with all workers gone: a worker that has left holds nothing.
        for (unsigned i = 0; i < 8 * kSubscribers; ++i) writer.step();
        CHECK(writer.replaced() >= kSubscribers);
        CHECK(rte_mempool_in_use_count(fleet.pool()) == 0);
    }
}
