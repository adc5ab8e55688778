// What the kernel is asked for, and how often: a scan of a connected network takes nothing from
// what traffic goes through.
#include "dataplane/ports/neighbour_table.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <vector>

namespace dr {

namespace {

using Need = NeighbourTable::Need;

IpAddress address(const std::string& text) {
    return parse_address(text).value();
}

IpAddress scanned(unsigned n, unsigned family = 6) {
    if (family == 4)
        return address("192.0." + std::to_string(2 + n / 250) + "." + std::to_string(1 + n % 250));
    IpAddress a = address("2001:db8:ff::");
    a.bytes[14] = static_cast<std::uint8_t>(n >> 8);
    a.bytes[15] = static_cast<std::uint8_t>(n);
    return a;
}

struct Asked {
    Asked() {
        std::string error;
        tables = Tables::create({16, 64, 16, 64, 1024, 1024, 256, 1024}, &error);
        REQUIRE(tables != nullptr);
        rib = std::make_unique<Rib>(*tables);
        table = std::make_unique<NeighbourTable>(
            *rib, [this](std::uint16_t, const IpAddress& a) { asked.push_back(a); });
    }
    [[nodiscard]] bool was_asked(const IpAddress& a) const {
        return std::find(asked.begin(), asked.end(), a) != asked.end();
    }
    // A scan from `begin` on, so many addresses a second; the rest of the mirror's work meanwhile.
    void scan(std::uint64_t begin, unsigned seconds, unsigned per_second) {
        unsigned n = 0;
        for (std::uint64_t ms = 0; ms < seconds * 1000ULL; ms += 10) {
            for (unsigned i = 0; i < per_second / 100; ++i)
                table->want(0, scanned(n++ % 60'000), Need::Destination, begin + ms);
            table->refresh(begin + ms);
        }
    }

    std::unique_ptr<Tables> tables;
    std::unique_ptr<Rib> rib;
    std::vector<IpAddress> asked;
    std::unique_ptr<NeighbourTable> table;
};

constexpr std::uint64_t kNow = 1'000'000;

}  // namespace

TEST_CASE("a scan makes few entries in the kernel, and a gateway is asked for all the same") {
    Asked a;
    a.scan(kNow, 18, 10'000);
    // The kernel keeps what failed for up to 18 s, and throws others out from 512 on.
    CHECK(a.asked.size() < 450);
    CHECK(a.asked.size() >= 64 + 300);
    const std::uint64_t later = kNow + 18'000;
    a.asked.clear();
    for (const auto& [text, need] :
         {std::pair("192.0.2.254", Need::Gateway), std::pair("2001:db8:ff::fe", Need::Gateway),
          std::pair("192.0.2.77", Need::TunnelEnd)}) {
        a.table->want(0, address(text), need, later);
        CHECK(a.was_asked(address(text)));
    }
    // The scan is in IPv6: the other family has its own rate.
    a.table->want(0, scanned(1, 4), Need::Destination, later);
    CHECK(a.was_asked(scanned(1, 4)));
    // Not more often than once a second.
    a.asked.clear();
    a.table->want(0, address("192.0.2.254"), Need::Gateway, later + 900);
    CHECK(a.asked.empty());
    a.table->want(0, address("192.0.2.254"), Need::Gateway, later + 1000);
    CHECK(a.asked.size() == 1);
}

TEST_CASE("tunnels that end at addresses which nobody answers for do not keep a gateway waiting") {
    Asked a;
    for (unsigned n = 0; n < 1000; ++n) a.table->want(0, scanned(n), Need::TunnelEnd, kNow);
    CHECK(a.asked.size() == 200);
    a.table->want(0, address("192.0.2.254"), Need::Gateway, kNow);
    CHECK(a.was_asked(address("192.0.2.254")));
}

TEST_CASE(
    "of stale neighbours those that routes lead through are verified first, the rest in turn") {
    Asked a;
    const wire::Mac mac{2, 0, 0, 0, 0, 1};
    const IpAddress gateway = address("2001:db8:ff::ffff");
    REQUIRE(a.rib->acquire_next_hop(0, gateway).value != 0);
    for (unsigned n = 0; n < 600; ++n) a.table->set(0, scanned(n), mac, true);
    a.table->set(0, gateway, mac, true);
    a.table->refresh(kNow);
    CHECK(a.asked.size() == 201);
    CHECK(a.asked.front() == gateway);
    for (std::uint64_t ms = 50; ms < 3000; ms += 50) a.table->refresh(kNow + ms);
    CHECK(a.asked.size() == 601);
    std::sort(a.asked.begin(), a.asked.end());
    CHECK(std::adjacent_find(a.asked.begin(), a.asked.end()) == a.asked.end());
}

TEST_CASE("what is forgotten with the link is believed again with it, what failed is not") {
    Asked a;
    using Unknown = NeighbourTable::Unknown;
    const wire::Mac mac{2, 0, 0, 0, 0, 1};
    const IpAddress kept = address("192.0.2.254");
    const IpAddress failed = address("192.0.2.253");
    const IpAddress before = address("192.0.2.252");
    for (const IpAddress& gateway : {kept, failed, before}) {
        REQUIRE(a.rib->acquire_next_hop(0, gateway).value != 0);
        a.table->set(0, gateway, mac, false);
    }
    a.table->set(0, address("192.0.2.9"), mac, false);  // nothing leads there
    a.table->remove(0, before, Unknown::Forgotten, kNow - 2'000);
    a.table->refresh(kNow);
    a.table->remove(0, failed, Unknown::Failed, kNow);
    a.table->remove(0, kept, Unknown::Forgotten, kNow);
    a.table->remove(0, address("192.0.2.9"), Unknown::Forgotten, kNow);
    a.table->link_down(0, kNow);
    CHECK(a.table->size() == 0);
    a.table->link_up(1, kNow + 500);  // another port
    CHECK(a.table->size() == 0);
    a.table->link_up(0, kNow + 500);
    CHECK(a.table->size() == 1);
    CHECK(a.asked == std::vector{kept});
    // A listing of before the answer leaves it, and so does the question; the end of the time, or
    // another loss of the link, does not.
    a.table->mark();
    a.table->remove(0, kept, Unknown::Asked, kNow + 600);
    a.table->sweep(kNow + 600);
    CHECK(a.table->size() == 1);
    a.table->link_down(0, kNow + 700);
    CHECK(a.table->size() == 0);
    a.table->link_up(0, kNow + 800);
    CHECK(a.table->size() == 1);
    a.table->refresh(kNow + 4'700);
    CHECK(a.table->size() == 1);
    a.table->refresh(kNow + 4'800);
    CHECK(a.table->size() == 0);
    // After a long time the kernel is only asked.
    a.table->set(0, kept, mac, false);
    a.table->remove(0, kept, Unknown::Forgotten, kNow);
    a.table->link_down(0, kNow);
    a.table->link_up(0, kNow + 61'000);
    CHECK(a.table->size() == 0);
}

TEST_CASE("neighbours, and ends of tunnels, leave room for gateways in the table of next hops") {
    Asked a;
    const wire::Mac mac{2, 0, 0, 0, 0, 1};
    REQUIRE(a.rib->insert({address("2001:db8:ff::"), 64}, RouteSource::Connected,
                          Target(TargetKind::Glean, 0)));
    for (unsigned n = 0; n < 500; ++n) a.table->set(0, scanned(n), mac, false);
    for (unsigned n = 500; n < 1000; ++n) (void)a.rib->resolve(scanned(n));
    unsigned gateways = 0;
    for (unsigned n = 0; n < 16; ++n)
        gateways += a.rib->acquire_next_hop(1, scanned(n)).value != 0 ? 1U : 0U;
    CHECK(gateways >= 15);
}

}  // namespace dr
