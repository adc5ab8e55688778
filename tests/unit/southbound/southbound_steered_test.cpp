#include <algorithm>
#include <catch2/catch.hpp>

#include "dataplane/writer/table_writer.h"
#include "tests/unit/southbound/southbound_records.h"

namespace dr::southbound::test {
namespace {

TEST_CASE("what the ports take from the kernel are the pools and the prefixes outside all pools") {
    Capacity capacity;
    capacity.subscribers = 16;
    capacity.tunnels = 64;
    capacity.maps = 64;
    capacity.prefixes4 = capacity.prefixes6 = 64;
    capacity.groups4 = capacity.groups6 = 64;
    std::string error;
    const auto tables = Tables::create(capacity, &error);
    REQUIRE(tables);
    Rib rib(*tables);
    TableWriter writer(*tables, rib);
    const auto commit = [&](const Txn& txn) { REQUIRE(writer.commit(txn, true).ok()); };
    const auto steered = [&] {
        std::vector<std::string> names;
        for (const IpPrefix& p : writer.steered()) names.push_back(to_string(p));
        std::sort(names.begin(), names.end());
        return names;
    };
    using Names = std::vector<std::string>;

    commit(Txn()
               .put(PoolSpec{1, "203.0.113.0/24"})
               .put(PolicySpec{1, {{{{"a", 1}}}}})
               .put(SubscriberSpec{1, {"203.0.113.8/29", "2001:db8:1::/56"}, {}}));
    CHECK(steered() == Names{"2001:db8:1::/56", "203.0.113.0/24"});

    const std::uint64_t before = writer.pools_generation();
    commit(Txn().put(SubscriberSpec{2, {"203.0.113.16/29"}, {}}));
    CHECK(writer.pools_generation() == before);
    commit(Txn().put(SubscriberSpec{2, {"198.18.0.0/24"}, {}}));
    CHECK(writer.pools_generation() > before);
    CHECK(steered() == Names{"198.18.0.0/24", "2001:db8:1::/56", "203.0.113.0/24"});

    commit(Txn().put(PoolSpec{2, "2001:db8::/32"}));
    CHECK(steered() == Names{"198.18.0.0/24", "2001:db8::/32", "203.0.113.0/24"});
    const std::uint64_t then = writer.pools_generation();
    commit(Txn().drop_subscriber(2));
    CHECK(writer.pools_generation() > then);
    CHECK(steered() == Names{"2001:db8::/32", "203.0.113.0/24"});
}

}  // namespace
}  // namespace dr::southbound::test
