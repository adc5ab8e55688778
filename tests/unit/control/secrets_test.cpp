// Learned tunnels and their keys, in the catalog and in the store.
#include "control/model/secrets.h"

#include <sqlite3.h>

#include "control/model/catalog.h"
#include "control/model/records.h"
#include "control/store/sqlite.h"
#include "tests/unit/control/support.h"

namespace dr::control::test {
namespace {

using Outcome = Result::Outcome;
using Mode = Request::Mode;

std::string site(const std::string& tunnels, const std::string& more = {}) {
    return R"({"subscriber":{"name":"s","policy":"default","prefixes":["203.0.113.8/29"],"tunnels":[)" +
           tunnels + "]" + more + "}}";
}
std::string tunnel(const std::string& line, const std::string& more = {}) {
    return R"({"line":")" + line + R"(","encapsulation":"GRE_UDP","local":"192.0.2.1")" + more +
           "}";
}
const std::string kRemote = R"(,"remote":"198.51.100.7")";

struct Fixture {
    TemporaryFolder folder;
    std::unique_ptr<Store> store = open_sqlite_store(folder.file("db"));
    std::unique_ptr<Catalog> catalog = std::make_unique<Catalog>(*store);

    Fixture() {
        for (const char* json : {kPool4, kPolicy}) REQUIRE(apply(json).failure.ok());
    }
    void restart() {
        catalog.reset();
        store.reset();
        store = open_sqlite_store(folder.file("db"));
        catalog = std::make_unique<Catalog>(*store);
    }
    Result apply(const std::string& json) {
        return catalog->apply_one({Mode::Apply, object(json)});
    }
    v1::Subscriber applied(const std::string& json) {
        const Result result = apply(json);
        INFO(result.failure.message);
        REQUIRE(result.failure.ok());
        return std::get<v1::Subscriber>(*result.object);
    }
    store::TunnelKeys keys(int tunnel) {
        const auto site = catalog->site("s");
        REQUIRE(site);
        const auto* keys = find_keys(site->secrets, site->subscriber.tunnels(tunnel).id());
        REQUIRE(keys != nullptr);
        return *keys;
    }
    std::string refusal(const std::string& json) {
        const Result result = apply(json);
        REQUIRE(result.outcome == Outcome::Refused);
        return result.failure.message;
    }
};

}  // namespace

TEST_CASE("a tunnel without remote is learned, and has a random key of 32 bytes") {
    Fixture f;
    const auto s = f.applied(site(tunnel("a") + "," + tunnel("b")));
    CHECK(s.tunnels(0).key_number() == 1);
    CHECK(f.keys(0).key().size() == kKeyBytes);
    CHECK(f.keys(0).key() != f.keys(1).key());
    CHECK(f.keys(0).previous_number() == 0);
}

TEST_CASE("a static tunnel has no key, unless keepalives are asked for") {
    Fixture f;
    const auto s =
        f.applied(site(tunnel("a", kRemote) + "," + tunnel("b", kRemote + R"(,"keepalive":true)")));
    CHECK(s.tunnels(0).key_number() == 0);
    CHECK(s.tunnels(1).key_number() == 1);
    CHECK(f.catalog->site("s")->secrets.tunnels_size() == 1);
    CHECK_THAT(f.refusal(site(tunnel("a", R"(,"keepalive":false)"))),
               Catch::Contains("cannot be learned"));
}

TEST_CASE("a tunnel without remote may have a fixed port") {
    Fixture f;
    const auto s = f.applied(site(tunnel("a", R"(,"remotePort":4754)")));
    CHECK(s.tunnels(0).remote().empty());
    CHECK(s.tunnels(0).remote_port() == 4754);
    CHECK(s.tunnels(0).key_number() == 1);
}

TEST_CASE("a key stays while its tunnel stays, through updates and restarts") {
    Fixture f;
    f.applied(site(tunnel("a") + "," + tunnel("b")));
    const std::string key = f.keys(0).key();
    CHECK(f.apply(site(tunnel("a") + "," + tunnel("b"))).outcome == Outcome::Unchanged);
    f.applied(site(tunnel("a"), R"(,"profile":"MOBILE")"));
    CHECK(f.keys(0).key() == key);
    CHECK(f.catalog->site("s")->secrets.tunnels_size() == 1);
    f.restart();
    CHECK(f.keys(0).key() == key);
    f.applied(site(tunnel("a", R"(,"id":77)")));
    CHECK(f.keys(0).key() != key);
}

TEST_CASE(
    "a revocation gives tunnels with keys other ids and keys, and takes all certificates back") {
    Fixture f;
    const auto before = f.applied(site(tunnel("a") + "," + tunnel("b", kRemote)));
    const std::string first = f.keys(0).key();
    REQUIRE(f.catalog
                ->change_credentials("s",
                                     [](store::Secrets& secrets) {
                                         secrets.add_certificates()->set_fingerprint("x");
                                     })
                .ok());
    const Result result = f.catalog->revoke("s");
    REQUIRE(result.outcome == Outcome::Updated);
    const auto after = std::get<v1::Subscriber>(*result.object);
    CHECK(after.tunnels(0).id() == before.tunnels(0).id() + (1U << 24));
    CHECK(after.tunnels(1).id() == before.tunnels(1).id());
    CHECK(f.keys(0).key() != first);
    CHECK(f.keys(0).previous_number() == 0);
    CHECK(f.catalog->site("s")->secrets.certificates_size() == 0);
    CHECK(f.catalog->site("s")->secrets.enrolled_only());
    f.restart();
    CHECK(f.keys(0).key() != first);
    CHECK(f.catalog->site("s")->subscriber.tunnels(0).id() == after.tunnels(0).id());
    // Once more in a row, through all generations; what was given before stays out of use.
    for (int i = 0; i < 254; ++i) REQUIRE(f.catalog->revoke("s").failure.ok());
    CHECK(f.catalog->site("s")->subscriber.tunnels(0).id() == before.tunnels(0).id());
    CHECK(f.keys(0).key() != first);
    CHECK(f.catalog->revoke("nobody").failure.code == Code::NotFound);
}

TEST_CASE("a rotation makes a new key and keeps the one before") {
    Fixture f;
    const auto before = f.applied(site(tunnel("a") + "," + tunnel("b", kRemote)));
    const std::string first = f.keys(0).key();
    const Result result = f.catalog->rotate_keys("s");
    REQUIRE(result.outcome == Outcome::Updated);
    const auto after = std::get<v1::Subscriber>(*result.object);
    CHECK(after.tunnels(0).key_number() == 2);
    CHECK(after.tunnels(1).key_number() == 0);
    CHECK(after.revision() > before.revision());
    CHECK(f.keys(0).previous() == first);
    CHECK(f.keys(0).previous_number() == 1);
    CHECK(f.keys(0).key() != first);
    for (int i = 0; i < 254; ++i) REQUIRE(f.catalog->rotate_keys("s").failure.ok());
    CHECK(f.keys(0).number() == 1);
    CHECK(f.keys(0).previous_number() == 255);
    CHECK(f.catalog->rotate_keys("nobody").failure.code == Code::NotFound);
}

TEST_CASE("keys are no part of the object, whoever asks for it") {
    Fixture f;
    const auto s = f.applied(site(tunnel("a")));
    const std::string key = f.keys(0).key();
    const auto listed = f.catalog->list(Kind::Subscriber, {});
    CHECK(std::get<v1::Subscriber>(listed.objects[0]).SerializeAsString() == s.SerializeAsString());
    CHECK(s.SerializeAsString().find(key) == std::string::npos);
}

TEST_CASE("secrets go with their subscriber") {
    Fixture f;
    const auto s = f.applied(site(tunnel("a")));
    REQUIRE(f.catalog
                ->change_credentials("s",
                                     [](store::Secrets& secrets) {
                                         secrets.add_certificates()->set_fingerprint("x");
                                     })
                .ok());
    f.applied(site(tunnel("a") + "," + tunnel("b")));
    CHECK(f.catalog->site("s")->secrets.certificates_size() == 1);
    REQUIRE(f.store->read_secrets(s.id()));
    v1::Subscriber gone;
    gone.set_name("s");
    REQUIRE(f.catalog->apply_one({Mode::Delete, gone}).failure.ok());
    CHECK_FALSE(f.store->read_secrets(s.id()));
    CHECK(f.catalog->change_credentials("s", [](auto&) {}).code == Code::NotFound);
}

TEST_CASE("a subscriber's record ends with the keys of its tunnels") {
    Fixture f;
    const auto s = f.applied(site(tunnel("a", kRemote) + "," + tunnel("b")));
    auto record = subscriber_record(s, 1);
    const std::size_t without = record.size();
    append_keys(record, s, f.catalog->site("s")->secrets);
    REQUIRE(record.size() == without + sizeof(southbound::KeyRecord));
    southbound::KeyRecord last;
    std::memcpy(&last, record.data() + without, sizeof last);
    CHECK(last.tunnel == s.tunnels(1).id());
    CHECK(std::equal(last.key.begin(), last.key.end(), f.keys(1).key().begin(),
                     [](std::uint8_t a, char b) { return a == static_cast<std::uint8_t>(b); }));
    CHECK_THROWS_AS(append_keys(record, s, {}), StoreError);
}

TEST_CASE("a store of the version without secrets is brought up to date") {
    Fixture f;
    f.applied(site(tunnel("a", kRemote)));
    f.catalog.reset();
    f.store.reset();
    sqlite3* db = nullptr;
    REQUIRE(sqlite3_open(f.folder.file("db").c_str(), &db) == SQLITE_OK);
    REQUIRE(sqlite3_exec(db, "DROP TABLE secrets; PRAGMA user_version = 1", nullptr, nullptr,
                         nullptr) == SQLITE_OK);
    sqlite3_close(db);
    f.restart();
    CHECK(f.applied(site(tunnel("a"))).tunnels(0).key_number() == 1);
}

}  // namespace dr::control::test
