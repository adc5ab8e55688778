// Requests at the edge of what the catalog takes.
#include <set>

#include "control/model/catalog.h"
#include "control/store/sqlite.h"
#include "tests/unit/control/support.h"

namespace dr::control::test {
namespace {

using Outcome = Result::Outcome;
using Mode = Request::Mode;

struct Fixture {
    TemporaryFolder folder;
    std::unique_ptr<Store> store = open_sqlite_store(folder.file("db"));
    Catalog catalog{*store};

    Fixture() {
        for (const char* json : {kPool4, kPolicy}) REQUIRE(apply(json).failure.ok());
    }
    Result apply(const std::string& json) { return catalog.apply_one({Mode::Apply, object(json)}); }
    // Refused with this field, and words that say this.
    void refused(const std::string& json, const std::string& field, const std::string& says) {
        const Result result = apply(json);
        INFO(json << ": " << result.failure.message);
        REQUIRE(result.outcome == Outcome::Refused);
        REQUIRE_FALSE(result.failure.violations.empty());
        CHECK(result.failure.violations[0].field == field);
        CHECK_THAT(result.failure.violations[0].description, Catch::Contains(says));
    }
};

std::string site(const std::string& name, const std::string& prefix,
                 const std::string& tunnel = {}) {
    const std::string tunnels =
        tunnel.empty() ? "" : R"(,"tunnels":[{"line":"a","encapsulation":"GRE",)" + tunnel + "}]";
    return R"({"subscriber":{"name":")" + name + R"(","policy":"default","prefixes":[")" + prefix +
           "\"]" + tunnels + "}}";
}
std::string pool(const std::string& prefix) {
    return R"({"pool":{"name":"p","prefix":")" + prefix + "\"}}";
}
const std::string kEnds = R"("local":"192.0.2.1","remote":"198.51.100.9")";

}  // namespace

TEST_CASE("a prefix inside no pool is accepted, and a pool may come around it later") {
    Fixture f;
    CHECK(f.apply(site("s", "10.0.0.0/29")).outcome == Outcome::Created);
    f.refused(site("t", "10.0.0.0/28"), "subscriber.prefixes[0]", "overlaps 10.0.0.0/29");
    f.refused(pool("10.0.0.4/30"), "pool.prefix", "is a part of 10.0.0.0/29 of subscriber \"s\"");
    CHECK(f.apply(pool("10.0.0.0/24")).outcome == Outcome::Created);
    f.refused(pool("10.1.0.0/24"), "pool.prefix", "without a pool");
    f.refused(site("t", "203.0.112.0/23"), "subscriber.prefixes[0]", "reaches beyond pool \"v4\"");
}

TEST_CASE("a tunnel id that was named in a refused set is free again") {
    Fixture f;
    f.catalog.note_tunnel_capacity(9);
    std::set<std::uint32_t> slots;
    const auto refused_set = f.catalog.apply(
        {{Mode::Apply, object(site("s", "203.0.113.8/29", kEnds + R"(,"id":33554439)"))},
         {Mode::Apply, object(site("t", "203.0.113.8/29"))}},
        true);
    CHECK(refused_set[0].outcome == Outcome::Refused);
    for (std::uint32_t i = 1; i <= 8; ++i) {
        const Result result = f.apply(
            site("s" + std::to_string(i), "203.0.113." + std::to_string(8 * i) + "/29", kEnds));
        INFO(result.failure.message);
        REQUIRE(result.outcome == Outcome::Created);
        slots.insert(TunnelIds::slot(std::get<v1::Subscriber>(*result.object).tunnels(0).id()));
    }
    CHECK(slots == std::set<std::uint32_t>{1, 2, 3, 4, 5, 6, 7, 8});
}

TEST_CASE("a tunnel slot beyond the data plane's tunnels is refused, known or not") {
    Fixture f;
    f.refused(site("s", "203.0.113.8/29", kEnds + R"(,"id":4294967295)"),
              "subscriber.tunnels[0].id", "must be below 4000000");
    f.catalog.note_tunnel_capacity(100);
    f.refused(site("s", "203.0.113.8/29", kEnds + R"(,"id":16777316)"), "subscriber.tunnels[0].id",
              "must be below 100");
    Catalog again(*f.store);
    CHECK(again.view([] {}).tunnel_capacity == 100);
}

TEST_CASE("the length of a prefix has no leading zeros") {
    Fixture f;
    f.refused(pool("10.0.0.0/08"), "pool.prefix", "the length is 0 to 32");
}

}  // namespace dr::control::test
