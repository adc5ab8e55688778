// Sites' prefixes against what must stay outside of them: ends of tunnels, signalling, addresses
// that nobody can have.
#include "control/model/catalog.h"
#include "control/store/sqlite.h"
#include "tests/unit/control/support.h"

namespace dr::control::test {
namespace {

using Outcome = Result::Outcome;
using Mode = Request::Mode;

std::string site(const std::string& name, const std::string& prefixes, const std::string& ends) {
    return R"({"subscriber":{"name":")" + name + R"(","policy":"default","prefixes":[)" + prefixes +
           R"(],"tunnels":[{"line":"a","encapsulation":"GRE_UDP",)" + ends + "}]}}";
}
const std::string kEnds = R"("local":"192.0.2.1","remote":"198.51.100.7")";

struct Fixture {
    TemporaryFolder folder;
    std::unique_ptr<Store> store = open_sqlite_store(folder.file("db"));
    std::unique_ptr<Catalog> catalog = std::make_unique<Catalog>(*store);

    Fixture() { given(kPolicy); }
    Result apply(const std::string& json) {
        return catalog->apply_one({Mode::Apply, object(json)});
    }
    void given(const std::string& json) {
        const Result result = apply(json);
        INFO(json << ": " << result.failure.message);
        REQUIRE(result.failure.ok());
    }
    void refused(const std::string& json, const std::string& field, const std::string& says) {
        const Result result = apply(json);
        INFO(json << ": " << result.failure.message);
        REQUIRE(result.outcome == Outcome::Refused);
        CHECK(result.failure.code == Code::InvalidArgument);
        REQUIRE_FALSE(result.failure.violations.empty());
        CHECK(result.failure.violations[0].field == field);
        CHECK_THAT(result.failure.violations[0].description, Catch::Contains(says));
    }
};

// A data plane that finds something of its own in a prefix.
class Router final : public Installer {
  public:
    Installed install(const Transaction&) override {
        return {Installed::Result::Refused, full, 0,
                "prefixes[1]: 192.0.2.0/24 holds 192.0.2.9, an address of this router; it must "
                "lie outside"};
    }
    void resync() override { ++resyncs; }
    void set_drain(bool) override {}
    bool full = false;
    int resyncs = 0;
};

}  // namespace

TEST_CASE("a tunnel's end inside the site's own prefix is refused in urd's words") {
    Fixture f;
    f.refused(site("s", R"("203.0.113.0/29","198.51.100.0/29")", kEnds),
              "subscriber.tunnels[0].remote",
              "198.51.100.7 is inside the site's prefix 198.51.100.0/29; a tunnel's ends must lie "
              "outside");
    f.refused(site("s", R"("192.0.2.0/24")", kEnds), "subscriber.tunnels[0].local",
              "192.0.2.1 is inside the site's prefix 192.0.2.0/24");
}

TEST_CASE("a prefix that holds an end of another site's tunnel is refused, whichever comes first") {
    Fixture f;
    f.given(site("s", R"("203.0.113.0/29")", kEnds));
    f.refused(site("t", R"("198.51.100.0/24")", R"("local":"192.0.2.1","remote":"192.0.2.77")"),
              "subscriber.prefixes[0]",
              "198.51.100.0/24 holds 198.51.100.7, an end of a tunnel of subscriber \"s\"");
    f.refused(site("t", R"("192.0.2.0/30")", R"("local":"192.0.2.9","remote":"192.0.2.77")"),
              "subscriber.prefixes[0]", "192.0.2.0/30 holds 192.0.2.1, an end of a tunnel");
    f.given(site("t", R"("100.64.0.0/24")", R"("local":"192.0.2.1","remote":"192.0.2.77")"));
    f.refused(site("s", R"("203.0.113.0/29")", R"("local":"192.0.2.1","remote":"100.64.0.9")"),
              "subscriber.tunnels[0].remote", "100.64.0.9 is inside 100.64.0.0/24 of subscriber");
}

TEST_CASE("a site may move its tunnel and take the address that its end had") {
    Fixture f;
    f.given(site("s", R"("203.0.113.0/29")", kEnds));
    f.given(site("s", R"("198.51.100.0/29")", R"("local":"192.0.2.1","remote":"192.0.2.77")"));
    f.given(site("t", R"("100.64.0.0/24")", R"("local":"192.0.2.1","remote":"192.0.2.78")"));
    // The end is its own, but another's as well.
    f.refused(site("t", R"("192.0.2.0/30")", R"("local":"192.0.2.9","remote":"192.0.2.78")"),
              "subscriber.prefixes[0]", "holds 192.0.2.1, an end of");
}

TEST_CASE("a prefix that holds an address of signalling is refused") {
    Fixture f;
    IpAddress signalling;
    signalling = *parse_address("203.0.113.200");
    f.catalog->set_reserved({{signalling, "an address of signalling"}});
    f.refused(site("s", R"("203.0.113.128/25")", kEnds), "subscriber.prefixes[0]",
              "203.0.113.128/25 holds 203.0.113.200, an address of signalling");
    f.given(site("s", R"("203.0.113.0/25")", kEnds));
}

TEST_CASE("a prefix that holds an end that was learned is refused, the site's own too") {
    Fixture f;
    f.given(site("s", R"("203.0.113.0/29")", kEnds));
    const auto id = std::get<v1::Subscriber>(*f.catalog->get(Kind::Subscriber, "s")).id();
    f.catalog->set_learned([&](const IpPrefix& prefix) {
        const IpAddress end = *parse_address("100.64.7.9");
        return prefix.contains(end) ? std::optional(std::pair(end, id)) : std::nullopt;
    });
    for (const char* name : {"s", "t"})
        f.refused(site(name, R"("100.64.0.0/16")", R"("local":"192.0.2.1","remote":"192.0.2.9")"),
                  "subscriber.prefixes[0]",
                  "100.64.0.0/16 holds 100.64.7.9, where a tunnel of subscriber \"s\" ends now");
    f.given(site("t", R"("100.65.0.0/16")", R"("local":"192.0.2.1","remote":"192.0.2.9")"));
}

TEST_CASE(
    "whatever has come to stand in a site's prefix, its keys and credentials can be changed") {
    Fixture f;
    const std::string tunnels =
        R"("local":"192.0.2.1"},{"line":"b","encapsulation":"GRE","local":"192.0.2.1")";
    f.given(site("s", R"("203.0.113.0/24")", tunnels));
    const auto stored = std::get<v1::Subscriber>(*f.catalog->get(Kind::Subscriber, "s"));
    f.catalog->set_reserved({{*parse_address("203.0.113.5"), "an address of signalling"}});
    f.catalog->set_learned([&](const IpPrefix&) {
        return std::optional(std::pair(*parse_address("203.0.113.9"), stored.id()));
    });
    f.refused(site("s", R"("203.0.113.0/24")", tunnels), "subscriber.prefixes[0]", "must lie");
    const auto add = [](store::Secrets& secrets) { secrets.add_certificates(); };
    CHECK(f.catalog->change_credentials("s", add).ok());
    const std::uint32_t fresh = stored.tunnels(0).id() + (1U << 24);
    for (const bool rotate : {true, false}) {
        const Result result = rotate ? f.catalog->rotate_keys("s") : f.catalog->revoke("s");
        INFO(result.failure.message);
        REQUIRE(result.outcome == Outcome::Updated);
        const auto& after = std::get<v1::Subscriber>(*result.object);
        CHECK(after.prefixes(0) == "203.0.113.0/24");
        CHECK((after.tunnels(0).key_number() == 2 || after.tunnels(0).id() == fresh));
    }
    CHECK(f.catalog->site("s")->secrets.certificates_size() == 0);
    CHECK(f.catalog->site("s")->secrets.enrolled_only());
}

TEST_CASE("a revocation holds when the data plane refuses the site, a rotation when it has room") {
    Fixture f;
    f.given(site("s", R"("203.0.113.0/24")", R"("local":"192.0.2.1")"));
    Router router;
    f.catalog->set_installer(router);
    CHECK(f.catalog->rotate_keys("s").outcome == Outcome::Updated);
    CHECK(router.resyncs == 1);
    router.full = true;
    CHECK(f.catalog->rotate_keys("s").failure.code == Code::ResourceExhausted);
    CHECK(router.resyncs == 1);
    CHECK(f.catalog->revoke("s").outcome == Outcome::Updated);
    CHECK(router.resyncs == 2);
    CHECK(f.catalog->site("s")->secrets.enrolled_only());
}

TEST_CASE("prefixes and ends of tunnels that nobody can have are refused") {
    Fixture f;
    for (const char* prefix :
         {"0.0.0.0/8", "127.0.0.0/24", "169.254.7.0/24", "224.0.0.0/24", "240.0.0.0/8",
          "255.255.255.255/32", "::1/128", "::/64", "::ffff:1.2.3.0/120", "fe80::/64", "ff02::/64",
          "0.0.0.0/0", "::/0", "64:ff9b::/96"})
        f.refused(site("s", std::string("\"") + prefix + "\"", kEnds), "subscriber.prefixes[0]",
                  "overlaps");
    f.refused(site("s", R"("32.0.0.0/7")", kEnds), "subscriber.prefixes[0]", "at least /8");
    f.refused(site("s", R"("2000::/15")", kEnds), "subscriber.prefixes[0]", "at least /16");
    for (const char* end : {"0.1.2.3", "127.0.0.1", "169.254.1.1", "224.0.0.1", "255.255.255.255"})
        f.refused(site("s", R"("203.0.113.0/29")",
                       std::string(R"("local":"192.0.2.1","remote":")") + end + "\""),
                  "subscriber.tunnels[0].remote", "the end of a tunnel is a unicast address");
    for (const char* end : {"::", "::1", "fe80::1", "ff02::1", "::ffff:192.0.2.1", "::7"})
        f.refused(site("s", R"("203.0.113.0/29")",
                       std::string(R"("remote":"2001:db8::1","local":")") + end + "\""),
                  "subscriber.tunnels[0].local", "the end of a tunnel is a unicast address");
    // Documentation and private prefixes are like any other.
    f.given(site("s", R"("10.0.0.0/8","172.16.0.0/12","192.168.0.0/16","2001:db8:1::/48")", kEnds));
}

TEST_CASE("what the data plane finds wrong with a prefix is a violation of that field") {
    Fixture f;
    Router router;
    f.catalog->set_installer(router);
    f.refused(site("s", R"("203.0.113.0/29","192.0.2.8/29")", kEnds), "subscriber.prefixes[1]",
              "192.0.2.0/24 holds 192.0.2.9, an address of this router; it must lie outside");
    CHECK(f.catalog->rows()[static_cast<std::size_t>(southbound::Table::Subscribers)] == 0);
}

}  // namespace dr::control::test
