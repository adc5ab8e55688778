// Several objects in one request: what the later ones see of the earlier ones.
#include "control/model/catalog.h"
#include "control/store/sqlite.h"
#include "tests/unit/control/support.h"

namespace dr::control::test {
namespace {

using Outcome = Result::Outcome;
using Mode = Request::Mode;

Object site(const std::string& name, const std::vector<std::string>& prefixes,
            const std::string& remote = "198.51.100.7") {
    auto s = std::get<v1::Subscriber>(object(kSite));
    s.set_name(name);
    s.clear_prefixes();
    for (const auto& prefix : prefixes) s.add_prefixes(prefix);
    s.mutable_tunnels(0)->set_remote(remote);
    return s;
}

struct Fixture {
    TemporaryFolder folder;
    std::unique_ptr<Store> store = open_sqlite_store(folder.file("db"));
    std::unique_ptr<Catalog> catalog = std::make_unique<Catalog>(*store);

    Fixture() { REQUIRE(apply({object(kPolicy)}).front().failure.ok()); }

    std::vector<Result> apply(const std::vector<Object>& objects, bool atomic = false) {
        std::vector<Request> requests;
        requests.reserve(objects.size());
        for (const auto& object : objects) requests.push_back({Mode::Apply, object});
        return catalog->apply(requests, atomic);
    }
    std::string owner(const std::string& address) {
        Catalog::Query query;
        std::string error;
        query.within = parse_prefix_or_address(address, &error);
        const auto page = catalog->list(Kind::Subscriber, query);
        return page.objects.empty() ? "" : std::get<v1::Subscriber>(page.objects[0]).name();
    }
};

const std::string kA = "203.0.113.0/29";
const std::string kB = "203.0.113.8/29";

}  // namespace

TEST_CASE("a pool around a tunnel's end is refused, whichever comes first in the batch") {
    Fixture f;
    const Object pool = object(R"({"pool":{"name":"around","prefix":"100.64.0.0/16"}})");
    const Object nested = site("n1", {kA}, "100.64.9.9");
    const bool pool_first = GENERATE(true, false);
    const auto results = pool_first ? f.apply({pool, nested}) : f.apply({nested, pool});
    CHECK(results[0].failure.ok());
    REQUIRE_FALSE(results[1].failure.ok());
    CHECK_THAT(results[1].failure.message, Catch::Contains("100.64.9.9"));
}

TEST_CASE("a pool may come once the last tunnel with an end inside it is gone") {
    Fixture f;
    const Object pool = object(R"({"pool":{"name":"around","prefix":"100.64.0.0/16"}})");
    f.apply({site("n1", {kA}, "100.64.9.9"), site("n2", {kB}, "100.64.9.9")});
    CHECK_FALSE(f.apply({pool})[0].failure.ok());
    CHECK(f.apply({site("n2", {kB})})[0].failure.ok());
    const auto still = f.apply({pool})[0];
    REQUIRE_FALSE(still.failure.ok());
    CHECK_THAT(still.failure.message, Catch::Contains("100.64.9.9"));
    CHECK(f.apply({site("n1", {kA})})[0].failure.ok());
    CHECK(f.apply({pool})[0].outcome == Outcome::Created);
}

TEST_CASE("two subscribers exchange prefixes in an atomic set, and in no other") {
    Fixture f;
    f.apply({site("a", {kA}), site("b", {kB})});
    const auto digest = f.catalog->view([] {}).digest;
    const std::vector<Object> exchange{site("a", {kB}), site("b", {kA})};
    CHECK_FALSE(f.apply(exchange)[0].failure.ok());
    f.apply({site("a", {kA}), site("b", {kB})});
    for (const auto& result : f.apply(exchange, true)) {
        INFO(result.failure.message);
        CHECK(result.outcome == Outcome::Updated);
    }
    CHECK(f.owner("203.0.113.1") == "b");
    CHECK(f.owner("203.0.113.9") == "a");
    f.apply({site("a", {kA}), site("b", {kB})}, true);
    CHECK(f.catalog->view([] {}).digest == digest);
}

TEST_CASE("a refused exchange leaves every prefix with its owner") {
    Fixture f;
    f.apply({site("a", {kA}), site("b", {kB}), site("c", {"203.0.113.16/29"})});
    const auto results = f.apply(
        {site("a", {kB}), site("b", {kA}), site("c", {"203.0.113.16/29"}), site("d", {kA})}, true);
    for (const auto& result : results) CHECK(result.outcome == Outcome::Refused);
    CHECK(f.owner("203.0.113.1") == "a");
    CHECK(f.owner("203.0.113.9") == "b");
    CHECK(f.owner("203.0.113.17") == "c");
    CHECK_FALSE(f.apply({site("x", {"203.0.113.16/29"})})[0].failure.ok());
}

TEST_CASE("a prefix that its owner keeps in the set is not given away") {
    Fixture f;
    f.apply({site("a", {kA}), site("b", {kB})});
    const bool taker_first = GENERATE(true, false);
    const std::vector<Object> set = taker_first ? std::vector{site("a", {kB}), site("b", {kB})}
                                                : std::vector{site("b", {kB}), site("a", {kB})};
    for (const auto& result : f.apply(set, true)) CHECK(result.outcome == Outcome::Refused);
    CHECK(f.owner("203.0.113.1") == "a");
    CHECK(f.owner("203.0.113.9") == "b");
}

TEST_CASE("a revision that is not the stored one is a finding about the revision") {
    Fixture f;
    f.apply({site("a", {kA})});
    auto stale = std::get<v1::Subscriber>(site("a", {kB}));
    stale.set_revision(99);
    const auto result = f.apply({stale})[0];
    CHECK(result.failure.code == Code::Aborted);
    REQUIRE(result.failure.violations.size() == 1);
    CHECK(result.failure.violations[0].field == "subscriber.revision");
    CHECK_THAT(result.failure.violations[0].description, !Catch::Contains("subscriber/a"));
}

}  // namespace dr::control::test
