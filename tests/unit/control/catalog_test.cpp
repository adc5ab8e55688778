// Tests of the catalog: changes, refusals, pages, ids.
#include "control/model/catalog.h"

#include <fmt/format.h>

#include "control/model/check.h"
#include "control/store/sqlite.h"
#include "tests/unit/control/support.h"

namespace dr::control::test {
namespace {

using Outcome = Result::Outcome;
using Mode = Request::Mode;

struct Fixture {
    TemporaryFolder folder;
    std::unique_ptr<Store> store = open_sqlite_store(folder.file("db"));
    std::unique_ptr<Catalog> catalog = std::make_unique<Catalog>(*store);

    Result apply(const std::string& json, Mode mode = Mode::Apply) {
        return catalog->apply_one({mode, object(json)});
    }
    void given(const std::string& json) {
        const Result result = apply(json);
        INFO(json << ": " << result.failure.message);
        REQUIRE(result.failure.ok());
    }
    void given_basics() {
        given(kPool4);
        given(kPool6);
        given(kPolicy);
    }
    void reopen(TunnelIds::Clock::duration quarantine = TunnelIds::kQuarantine) {
        catalog.reset();
        store.reset();
        store = open_sqlite_store(folder.file("db"));
        catalog = std::make_unique<Catalog>(*store, quarantine);
    }
    std::uint32_t tunnel_id(const std::string& name) {
        return std::get<v1::Subscriber>(catalog->get(Kind::Subscriber, name).value())
            .tunnels(0)
            .id();
    }
};

// Takes everything until it has `room` subscribers.
class SmallDataplane final : public Installer {
  public:
    explicit SmallDataplane(std::uint32_t room) : room_(room) {}
    Installed install(const Transaction& t) override {
        if (t.records() > room_)
            return {Installed::Result::Refused, true, room_, "subscribers: full"};
        room_ -= t.records();
        return {Installed::Result::Accepted, false, 0, {}};
    }
    void resync() override {}
    void set_drain(bool) override {}

  private:
    std::uint32_t room_;
};

std::string subscriber(const std::string& fields) {
    return R"({"subscriber":{"name":"new","policy":"default",)" + fields + "}}";
}
std::string with_tunnel(const std::string& fields) {
    return subscriber(R"("prefixes":["203.0.113.16/29"],"tunnels":[{)" + fields + "}]");
}
std::string many(int n, const std::string& format) {
    std::string out;
    for (int i = 0; i < n; ++i) out += (i ? "," : "") + fmt::format(fmt::runtime(format), i);
    return out;
}

struct Case {
    const char* rule;
    std::string request;
    Code code;
    const char* field;
    const char* says;
};

std::vector<Case> refused_objects() {
    const std::string ends = R"("local":"192.0.2.1","remote":"198.51.100.9")";
    const std::string gre = R"("line":"a","encapsulation":"GRE",)";
    const std::string udp = R"("line":"a","encapsulation":"GRE_UDP",)";
    return {
        {"a name", R"({"pool":{"name":"Tokyo","prefix":"10.0.0.0/8"}})", Code::InvalidArgument,
         "pool.name", "[a-z0-9]"},
        {"a pool's host bits", R"({"pool":{"name":"p","prefix":"10.0.0.1/8"}})",
         Code::InvalidArgument, "pool.prefix", "the network is 10.0.0.0/8"},
        {"no overlap of pools", R"({"pool":{"name":"p","prefix":"203.0.113.128/25"}})",
         Code::InvalidArgument, "pool.prefix", "overlaps pool \"v4\""},
        {"no whole address space", R"({"pool":{"name":"p","prefix":"::/0"}})",
         Code::InvalidArgument, "pool.prefix", "whole address space"},
        {"no pool of multicast", R"({"pool":{"name":"p","prefix":"224.0.0.0/8"}})",
         Code::InvalidArgument, "pool.prefix", "multicast"},
        {"no pool around a tunnel's end", R"({"pool":{"name":"p","prefix":"198.51.100.0/24"}})",
         Code::FailedPrecondition, "pool.prefix", "would nest"},
        {"no pool change that orphans", R"({"pool":{"name":"v4","prefix":"203.0.113.128/25"}})",
         Code::FailedPrecondition, "pool.prefix", "203.0.113.8/29 of subscriber \"site-1\""},
        {"a policy has classes", R"({"policy":{"name":"p"}})", Code::InvalidArgument,
         "policy.classes", "at least one class"},
        {"8 classes",
         R"({"policy":{"name":"p","classes":[)" +
             many(9, R"({{"name":"c{}","tiers":[{{"lines":[{{"line":"a"}}]}}]}})") + "]}}",
         Code::ResourceExhausted, "policy.classes", "8 classes a policy"},
        {"16 lines of a policy",
         R"({"policy":{"name":"p","classes":[{"name":"c","tiers":[{"lines":[)" +
             many(17, R"({{"line":"l{}"}})") + "]}]}]}}",
         Code::ResourceExhausted, "policy.classes[0].tiers[0].lines", "16 lines a policy"},
        {"a weight",
         R"({"policy":{"name":"p","classes":[{"name":"c","tiers":[{"lines":[{"line":"a","weight":256}]}]}]}})",
         Code::InvalidArgument, "policy.classes[0].tiers[0].lines[0].weight", "1 to 255"},
        {"a limit of loss",
         R"({"policy":{"name":"p","classes":[{"name":"c","maxLossPermille":1000,"tiers":[{"lines":[{"line":"a"}]}]}]}})",
         Code::InvalidArgument, "policy.classes[0].maxLossPermille",
         "1000 is out of range; 1 to 999 of a thousand keepalives, or absent for any"},
        {"a limit of the round trip",
         R"({"policy":{"name":"p","classes":[{"name":"c","maxRttMs":60001,"tiers":[{"lines":[{"line":"a"}]}]}]}})",
         Code::InvalidArgument, "policy.classes[0].maxRttMs", "1 to 60000 ms"},
        {"a limit of jitter",
         R"({"policy":{"name":"p","classes":[{"name":"c","maxJitterMs":60001,"tiers":[{"lines":[{"line":"a"}]}]}]}})",
         Code::InvalidArgument, "policy.classes[0].maxJitterMs", "1 to 60000 ms"},
        {"a tier has lines", R"({"policy":{"name":"p","classes":[{"name":"c","tiers":[{}]}]}})",
         Code::InvalidArgument, "policy.classes[0].tiers[0].lines", "at least one line"},
        {"a line once in a class",
         R"({"policy":{"name":"p","classes":[{"name":"c","tiers":[{"lines":[{"line":"a"},{"line":"a"}]}]}]}})",
         Code::InvalidArgument, "policy.classes[0].tiers[0].lines[1].line", "twice"},
        {"no policy change that orphans",
         R"({"policy":{"name":"default","classes":[{"name":"c","tiers":[{"lines":[{"line":"b"}]}]}]}})",
         Code::FailedPrecondition, "policy.classes", "line \"a\" is missing"},
        {"prefixes are needed", subscriber(R"("prefixes":[])"), Code::InvalidArgument,
         "subscriber.prefixes", "at least one prefix"},
        {"host bits", subscriber(R"("prefixes":["203.0.113.17/29"])"), Code::InvalidArgument,
         "subscriber.prefixes[0]",
         "host bits set: 203.0.113.17/29; the network is 203.0.113.16/29"},
        {"a prefix is a prefix", subscriber(R"("prefixes":["203.0.113.16/29","2001:db8::/129"])"),
         Code::InvalidArgument, "subscriber.prefixes[1]", "0 to 128"},
        {"64 prefixes",
         subscriber(R"("prefixes":[)" + many(65, R"("2001:db8:5000:{:x}::/64")") + "]"),
         Code::ResourceExhausted, "subscriber.prefixes", "64 prefixes a subscriber"},
        {"no prefix in a reserved block", subscriber(R"("prefixes":["fe80::/64"])"),
         Code::InvalidArgument, "subscriber.prefixes[0]", "fe80::/10, link-local"},
        {"no pool around a reserved block", R"({"pool":{"name":"wide","prefix":"fe00::/8"}})",
         Code::InvalidArgument, "pool.prefix", "fe80::/10, link-local"},
        {"no pool around the IPv4-mapped block",
         R"({"pool":{"name":"wide","prefix":"::fffe:0:0/95"}})", Code::InvalidArgument,
         "pool.prefix", "IPv4-mapped"},
        {"no overlap with itself",
         subscriber(R"("prefixes":["203.0.113.16/29","203.0.113.18/32"])"), Code::InvalidArgument,
         "subscriber.prefixes[1]", "of the same subscriber"},
        {"no overlap with another", subscriber(R"("prefixes":["203.0.113.0/28"])"),
         Code::InvalidArgument, "subscriber.prefixes[0]",
         "203.0.113.8/29 of subscriber \"site-1\""},
        {"no overlap inside another", subscriber(R"("prefixes":["203.0.113.10/32"])"),
         Code::InvalidArgument, "subscriber.prefixes[0]", "overlaps 203.0.113.8/29"},
        {"inside a pool whole", subscriber(R"("prefixes":["203.0.112.0/23"])"),
         Code::InvalidArgument, "subscriber.prefixes[0]", "overlaps"},
        {"a known policy",
         R"({"subscriber":{"name":"new","prefixes":["203.0.113.16/29"],"policy":"gold"}})",
         Code::FailedPrecondition, "subscriber.policy", "\"gold\" does not exist"},
        {"a line of the policy", with_tunnel(R"("line":"z","encapsulation":"GRE",)" + ends),
         Code::FailedPrecondition, "subscriber.tunnels[0].line", "no line \"z\""},
        {"one tunnel a line",
         subscriber(R"("prefixes":["203.0.113.16/29"],"tunnels":[{)" + gre + ends + "},{" + gre +
                    ends + "}]"),
         Code::InvalidArgument, "subscriber.tunnels[1].line", "at most one a line"},
        {"16 lines",
         subscriber(
             R"("prefixes":["203.0.113.16/29"],"tunnels":[)" +
             many(
                 17,
                 R"({{"line":"l{}","encapsulation":"GRE","local":"192.0.2.1","remote":"198.51.100.9"}})") +
             "]"),
         Code::ResourceExhausted, "subscriber.tunnels", "16 lines a subscriber"},
        {"an encapsulation", with_tunnel(R"("line":"a",)" + ends), Code::InvalidArgument,
         "subscriber.tunnels[0].encapsulation", "GRE, GRE_UDP or AUTO"},
        {"one family", with_tunnel(gre + R"("local":"192.0.2.1","remote":"2001:db8:b::7")"),
         Code::InvalidArgument, "subscriber.tunnels[0].remote", "one family"},
        {"an address", with_tunnel(gre + R"("local":"dr1","remote":"198.51.100.9")"),
         Code::InvalidArgument, "subscriber.tunnels[0].local", "\"dr1\" is no IPv4 or IPv6"},
        {"unicast", with_tunnel(gre + R"("local":"192.0.2.1","remote":"224.0.0.5")"),
         Code::InvalidArgument, "subscriber.tunnels[0].remote", "multicast"},
        {"no remote inside a pool",
         with_tunnel(gre + R"("local":"192.0.2.1","remote":"203.0.113.99")"), Code::InvalidArgument,
         "subscriber.tunnels[0].remote", "inside pool \"v4\""},
        {"no local inside a pool",
         with_tunnel(gre + R"("local":"203.0.113.99","remote":"192.0.2.1")"), Code::InvalidArgument,
         "subscriber.tunnels[0].local", "inside pool \"v4\""},
        {"a port with UDP only", with_tunnel(gre + ends + R"(,"remotePort":4754)"),
         Code::InvalidArgument, "subscriber.tunnels[0].remotePort", "only GRE_UDP"},
        {"a port", with_tunnel(udp + ends + R"(,"remotePort":65536)"), Code::InvalidArgument,
         "subscriber.tunnels[0].remotePort", "1 to 65535"},
        {"an MTU", with_tunnel(gre + ends + R"(,"mtu":1279)"), Code::InvalidArgument,
         "subscriber.tunnels[0].mtu", "1280 to 9000"},
        {"slot 0 is reserved", with_tunnel(gre + ends + R"(,"id":16777216)"), Code::InvalidArgument,
         "subscriber.tunnels[0].id", "slot 0"},
        {"a tunnel id of one's own", with_tunnel(gre + ends + R"(,"id":33554433)"),
         Code::InvalidArgument, "subscriber.tunnels[0].id", "belongs to subscriber \"site-1\""},
    };
}

}  // namespace

TEST_CASE("each rule refuses with its field and says what would be right") {
    Fixture f;
    f.catalog->note_tunnel_capacity(2);  // so that the site's tunnel has slot 1
    f.given_basics();
    f.given(kSite);
    for (const auto& c : refused_objects()) {
        INFO(c.rule << ": " << c.request);
        const Result result = f.apply(c.request);
        REQUIRE(result.outcome == Outcome::Refused);
        INFO(result.failure.message);
        CHECK(result.failure.code == c.code);
        REQUIRE_FALSE(result.failure.violations.empty());
        CHECK(result.failure.violations[0].field == c.field);
        CHECK(result.failure.violations[0].description.find(c.says) != std::string::npos);
    }
    CHECK(f.catalog->rows()[static_cast<std::size_t>(southbound::Table::Subscribers)] == 1);
}

TEST_CASE("an accepted subscriber comes back canonical with ids, seed and revision") {
    Fixture f;
    f.given_basics();
    f.given(R"({"subscriber":{"name":"s","prefixes":["2001:DB8:5000:0100::/56"],"policy":"default",
        "tunnels":[{"line":"b","encapsulation":"GRE","local":"2001:DB8:ff::1","remote":"2001:db8:b::7"}]}})");
    const auto s = std::get<v1::Subscriber>(f.catalog->get(Kind::Subscriber, "s").value());
    CHECK(s.prefixes(0) == "2001:db8:5000:100::/56");
    CHECK(s.tunnels(0).local() == "2001:db8:ff::1");
    CHECK(TunnelIds::slot(s.tunnels(0).id()) != 0);
    CHECK(TunnelIds::generation(s.tunnels(0).id()) != 0);
    CHECK(s.hash_seed() == (2166136261U ^ 's') * 16777619U);
    CHECK(s.revision() == f.catalog->revision());
    CHECK(s.id() != 0);
}

TEST_CASE("a class that no packet can be of is accepted with a warning") {
    Fixture f;
    const auto one = f.apply(
        R"({"policy":{"name":"p","classes":[{"name":"all","tiers":[{"lines":[{"line":"a"}]}]}]}})");
    CHECK(one.warnings.empty());
    const auto two = f.apply(
        R"({"policy":{"name":"p","classes":[{"name":"all","tiers":[{"lines":[{"line":"a"}]}]},
            {"name":"voice","tiers":[{"lines":[{"line":"b"}]}]}]}})");
    CHECK(two.outcome == Outcome::Updated);
    REQUIRE(two.warnings.size() == 1);
    CHECK(two.warnings[0].field == "policy.classes[1]");
    CHECK(two.warnings[0].description.find("\"voice\": all are of the first, \"all\"") !=
          std::string::npos);
}

TEST_CASE("applying the same object again changes nothing, not even the revision") {
    Fixture f;
    f.given_basics();
    f.given(kSite);
    const auto revision = f.catalog->revision();
    CHECK(f.apply(kSite).outcome == Outcome::Unchanged);
    CHECK(f.apply(kPool4).outcome == Outcome::Unchanged);
    CHECK(f.apply(kPolicy).outcome == Outcome::Unchanged);
    CHECK(f.catalog->revision() == revision);
}

TEST_CASE("create, update and delete keep to presence and revision") {
    Fixture f;
    f.given_basics();
    CHECK(f.apply(kSite, Mode::Update).failure.code == Code::NotFound);
    CHECK(f.apply(kSite, Mode::Create).outcome == Outcome::Created);
    CHECK(f.apply(kSite, Mode::Create).failure.code == Code::AlreadyExists);
    auto s = std::get<v1::Subscriber>(f.catalog->get(Kind::Subscriber, "site-1").value());
    s.set_revision(s.revision() - 1);
    CHECK(f.catalog->apply_one({Mode::Update, s}).failure.code == Code::Aborted);
    CHECK(f.apply(kPolicy, Mode::Delete).failure.code == Code::FailedPrecondition);
    CHECK(f.apply(kPool4, Mode::Delete).failure.code == Code::FailedPrecondition);
    CHECK(f.apply(kSite, Mode::Delete).outcome == Outcome::Deleted);
    CHECK(f.apply(kSite, Mode::Delete).failure.code == Code::NotFound);
    CHECK(f.apply(kPolicy, Mode::Delete).outcome == Outcome::Deleted);
    CHECK(f.apply(kPool4, Mode::Delete).outcome == Outcome::Deleted);
}

TEST_CASE("a prefix that a subscriber gives up can be given to another in the same batch") {
    Fixture f;
    f.given_basics();
    f.given(kSite);
    auto moved = std::get<v1::Subscriber>(object(kSite));
    moved.set_prefixes(0, "203.0.113.64/29");
    auto other = std::get<v1::Subscriber>(object(kSite));
    other.set_name("site-2");
    const auto results = f.catalog->apply({{Mode::Apply, moved}, {Mode::Apply, other}});
    CHECK(results[0].outcome == Outcome::Updated);
    INFO(results[1].failure.message);
    CHECK(results[1].outcome == Outcome::Created);
}

TEST_CASE("an atomic set with one bad object leaves nothing behind") {
    Fixture f;
    f.catalog->note_tunnel_capacity(2);  // slot 1 alone
    f.given_basics();
    auto bad = std::get<v1::Subscriber>(object(kSite));
    bad.set_name("bad");
    const auto revision = f.catalog->revision();
    const auto results = f.catalog->apply({{Mode::Apply, object(kSite)}, {Mode::Apply, bad}}, true);
    CHECK(results[0].failure.code == Code::Aborted);
    CHECK(results[1].failure.code == Code::InvalidArgument);
    CHECK_FALSE(f.catalog->get(Kind::Subscriber, "site-1"));
    CHECK(f.catalog->revision() == revision);
    f.given(kSite);
    CHECK(TunnelIds::slot(f.tunnel_id("site-1")) == 1);
}

TEST_CASE("what the data plane has no room for is refused and not stored") {
    Fixture f;
    SmallDataplane dataplane(5);
    f.catalog->set_installer(dataplane);
    f.given_basics();
    std::vector<Request> requests;
    for (int i = 0; i < 4; ++i) {
        auto s = std::get<v1::Subscriber>(object(kSite));
        s.set_name("s" + std::to_string(i));
        s.set_prefixes(0, "203.0.113." + std::to_string(8 * i) + "/29");
        requests.push_back({Mode::Apply, s});
    }
    const auto results = f.catalog->apply(requests);
    CHECK(results[1].outcome == Outcome::Created);
    CHECK(results[2].failure.code == Code::ResourceExhausted);
    CHECK(results[2].failure.message.find("subscribers: full") != std::string::npos);
    f.reopen();
    CHECK(f.catalog->get(Kind::Subscriber, "s1"));
    CHECK_FALSE(f.catalog->get(Kind::Subscriber, "s2"));
}

TEST_CASE(
    "a freed tunnel slot rests, also across a restart, and comes back with a new generation") {
    Fixture f;
    f.given_basics();
    f.given(kSite);
    const std::uint32_t first = f.tunnel_id("site-1");
    CHECK(f.apply(kSite, Mode::Delete).outcome == Outcome::Deleted);
    f.reopen();
    f.given(kSite);
    CHECK(TunnelIds::slot(f.tunnel_id("site-1")) != TunnelIds::slot(first));
    f.reopen(TunnelIds::Clock::duration::zero());
    auto second = std::get<v1::Subscriber>(object(kSite));
    second.set_name("site-2");
    second.set_prefixes(0, "203.0.113.16/29");
    REQUIRE(f.catalog->apply_one({Mode::Apply, second}).failure.ok());
    CHECK(f.tunnel_id("site-2") == TunnelIds::next_generation(first));
}

TEST_CASE("an index rebuilt from the store has the digests and rows of the one before") {
    Fixture f;
    f.given_basics();
    f.given(kSite);
    const auto before = f.catalog->view([] {});
    const auto digest = before.digest;
    const auto rows = before.rows;
    f.reopen();
    const auto after = f.catalog->view([] {});
    CHECK(after.digest == digest);
    CHECK(after.rows == rows);
    CHECK(digest[2] != 0);
}

TEST_CASE("pages follow the order of names, and `within` finds owners by address") {
    Fixture f;
    f.given_basics();
    for (const int i : {3, 1, 2}) {
        auto s = std::get<v1::Subscriber>(object(kSite));
        s.set_name("s" + std::to_string(i));
        s.set_prefixes(0, "203.0.113." + std::to_string(8 * i) + "/29");
        REQUIRE(f.catalog->apply_one({Mode::Apply, s}).failure.ok());
    }
    Catalog::Query query;
    query.limit = 2;
    auto page = f.catalog->list(Kind::Subscriber, query);
    REQUIRE(page.objects.size() == 2);
    query.token = page.next;
    page = f.catalog->list(Kind::Subscriber, query);
    REQUIRE(page.objects.size() == 1);
    CHECK(page.next.empty());
    query.token.clear();
    std::string error;
    query.within = parse_prefix_or_address("203.0.113.17", &error);
    page = f.catalog->list(Kind::Subscriber, query);
    REQUIRE(page.objects.size() == 1);
    CHECK(std::get<v1::Subscriber>(page.objects[0]).name() == "s2");
}

}  // namespace dr::control::test
