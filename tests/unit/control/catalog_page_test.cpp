// Reading pages of a large catalog: what is on them, and how much work they are.
#include "control/model/catalog.h"
#include "control/store/sqlite.h"
#include "tests/unit/control/support.h"

namespace dr::control::test {
namespace {

constexpr std::uint32_t kSites = 100'000;
constexpr std::uint32_t kRare = 77'777;  // the one with a policy of its own

std::string name_of(std::uint32_t i) {
    std::string digits = std::to_string(i);
    return "site-" + std::string(6 - digits.size(), '0') + digits;
}

v1::Subscriber site(std::uint32_t i) {
    auto s = std::get<v1::Subscriber>(object(kSite));
    s.set_name(name_of(i));
    const std::uint32_t low = i * 8;
    s.set_prefixes(0, "20." + std::to_string(low >> 16 & 255) + "." +
                          std::to_string(low >> 8 & 255) + "." + std::to_string(low & 255) + "/29");
    if (i == kRare) {
        s.set_policy("rare");
        s.mutable_tunnels(0)->set_line("c");
    }
    return s;
}

// Built once: the tests read only.
struct Large {
    TemporaryFolder folder;
    std::unique_ptr<Store> store = open_sqlite_store(folder.file("db"));
    Catalog catalog{*store};

    Large() {
        std::vector<Request> requests;
        const auto add = [&](Object object) {
            requests.push_back({Request::Mode::Apply, std::move(object)});
        };
        add(object(kPolicy));
        add(object(R"({"policy":{"name":"rare","classes":[{"name":"all","tiers":[
                       {"lines":[{"line":"c"}]}]}]}})"));
        for (std::uint32_t i = 0; i < kSites; ++i) {
            add(site(i));
            if (requests.size() == 10'000 || i + 1 == kSites) {
                for (const auto& result : catalog.apply(requests)) REQUIRE(result.failure.ok());
                requests.clear();
            }
        }
    }
    static Large& instance() {
        static Large large;
        return large;
    }
};

std::vector<std::string> names(const Catalog::Page& page) {
    std::vector<std::string> out;
    for (const auto& object : page.objects) out.push_back(std::get<v1::Subscriber>(object).name());
    return out;
}

IpPrefix prefix(const char* text) {
    std::string error;
    return parse_prefix_or_address(text, &error).value();
}

}  // namespace

TEST_CASE("a page of 100,000 subscribers is as much work as it is long, wherever it begins") {
    auto& catalog = Large::instance().catalog;
    Catalog::Query query;
    query.limit = 50;
    query.token = GENERATE("", "=site-050000", "=site-099900");
    const auto page = catalog.list(Kind::Subscriber, query);
    CHECK(page.objects.size() == 50);
    CHECK(page.read == 50);
    CHECK(page.visited <= 51);
    CHECK_FALSE(page.next.empty());
}

TEST_CASE("a page of the owners within a prefix visits these only") {
    auto& catalog = Large::instance().catalog;
    Catalog::Query query;
    query.limit = 20;
    query.within = prefix("20.6.0.0/24");  // 32 sites, from number 49152 on
    auto page = catalog.list(Kind::Subscriber, query);
    CHECK(names(page).front() == name_of(49'152));
    CHECK(page.objects.size() == 20);
    CHECK(page.visited <= 21);
    query.token = page.next;
    page = catalog.list(Kind::Subscriber, query);
    CHECK(names(page).back() == name_of(49'152 + 31));
    CHECK(page.objects.size() == 12);
    CHECK(page.visited == 12);
    CHECK(page.next.empty());
}

TEST_CASE("the owner of one address is found by one look") {
    auto& catalog = Large::instance().catalog;
    Catalog::Query query;
    query.within = prefix("20.6.0.13");
    const auto page = catalog.list(Kind::Subscriber, query);
    CHECK(names(page) == std::vector{name_of(49'153)});
    CHECK(page.visited == 1);
    CHECK(page.read == 1);
}

TEST_CASE("a filter that few subscribers match reads those few, and a page ends at the bound") {
    auto& catalog = Large::instance().catalog;
    Catalog::Query query;
    (GENERATE(true, false) ? query.policy = "rare" : query.line = "c");
    std::vector<std::string> found;
    std::uint64_t read = 0;
    do {
        const auto page = catalog.list(Kind::Subscriber, query);
        CHECK(page.visited <= Catalog::kMaxVisited);
        for (const auto& name : names(page)) found.push_back(name);
        read += page.read;
        query.token = page.next;
    } while (!query.token.empty());
    CHECK(found == std::vector{name_of(kRare)});
    CHECK(read == 1);
}

TEST_CASE("a filter that nothing can match visits nothing") {
    auto& catalog = Large::instance().catalog;
    Catalog::Query query;
    query.line = "z";
    const auto page = catalog.list(Kind::Subscriber, query);
    CHECK(page.objects.empty());
    CHECK(page.visited == 0);
    CHECK(page.next.empty());
}

TEST_CASE("pages put together are the whole list, each subscriber once") {
    auto& catalog = Large::instance().catalog;
    Catalog::Query query;
    query.limit = 3000;
    if (GENERATE(true, false)) query.within = prefix("20.0.0.0/8");
    std::vector<std::string> all;
    do {
        const auto page = catalog.list(Kind::Subscriber, query);
        for (auto& name : names(page)) all.push_back(std::move(name));
        query.token = page.next;
    } while (!query.token.empty());
    REQUIRE(all.size() == kSites);
    for (std::uint32_t i = 0; i < kSites; ++i) REQUIRE(all[i] == name_of(i));
}

TEST_CASE("a token that no list has returned is an error") {
    auto& catalog = Large::instance().catalog;
    Catalog::Query query;
    query.token = GENERATE("site-1", "@20.0.0.0", "|");
    CHECK_THROWS_AS(catalog.list(Kind::Subscriber, query), std::invalid_argument);
}

}  // namespace dr::control::test
