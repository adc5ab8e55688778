// The link against a scripted peer on a real socket: the faults that the real data plane does not
// make on demand.
#include "control/southbound/link.h"

#include <memory>
#include <string>

#include "control/store/sqlite.h"
#include "tests/unit/control/fake_dataplane.h"
#include "tests/unit/control/support.h"

namespace dr::control::test {
namespace {

namespace sb = southbound;

struct Fixture {
    TemporaryFolder folder;
    std::unique_ptr<Store> store = open_sqlite_store(folder.file("db"));
    Catalog catalog{*store};
    Link link{catalog, folder.file("dp.sock")};

    Fixture() {
        catalog.set_installer(link);
        for (const char* json : {kPool4, kPolicy}) REQUIRE(apply(json).failure.ok());
    }
    Result apply(const char* json, Request::Mode mode = Request::Mode::Apply) {
        return catalog.apply_one({mode, object(json)});
    }
    bool comes_to(LinkState state) {
        return eventually([&] { return link.status(false).state == state; });
    }
};

}  // namespace

TEST_CASE("a data plane of another version is refused with a detail that names both", "[threads]") {
    Fixture f;
    const FakeDataplane dataplane(f.folder.file("dp.sock"), sb::kVersion + 1, accept_all);
    f.link.start();
    REQUIRE(f.comes_to(LinkState::Refused));
    CHECK_THAT(f.link.status(false).detail,
               Catch::Contains("speaks version " + std::to_string(sb::kVersion + 1)));
    CHECK(dataplane.syncs() == 0);
    f.link.stop();
}

TEST_CASE("the liveness table of a connected data plane is at hand until it goes away",
          "[threads]") {
    Fixture f;
    CHECK(f.link.live() == nullptr);
    auto dataplane =
        std::make_unique<FakeDataplane>(f.folder.file("dp.sock"), sb::kVersion, accept_all);
    f.link.start();
    REQUIRE(f.comes_to(LinkState::InSync));
    const auto live = f.link.live();
    REQUIRE(live != nullptr);
    CHECK(live->tunnel(0x01000007));
    dataplane.reset();
    REQUIRE(eventually([&] { return f.link.live() == nullptr; }));
    CHECK(live->tunnel(0x01000007));
    f.link.stop();
}

TEST_CASE("a data plane that hangs up in the middle of a replay is replayed again", "[threads]") {
    Fixture f;
    const FakeDataplane dataplane(f.folder.file("dp.sock"), sb::kVersion, [](int connection, int) {
        return connection == 0 ? sb::Status::BadSequence : sb::Status::Ok;
    });
    f.link.start();
    REQUIRE(f.comes_to(LinkState::InSync));
    CHECK(dataplane.connections() == 1);
    CHECK(dataplane.syncs() == 1);
    CHECK(dataplane.last_sync_flags() == 0);
    CHECK(f.link.status(false).installed_revision == f.catalog.revision());
    f.link.stop();
}

TEST_CASE("a change that a data plane in sync refuses is refused with its words and not stored",
          "[threads]") {
    Fixture f;
    const FakeDataplane dataplane(f.folder.file("dp.sock"), sb::kVersion, [](int, int commit) {
        return commit == 0 ? sb::Status::Ok : sb::Status::Full;
    });
    f.link.start();
    REQUIRE(f.comes_to(LinkState::InSync));
    const Result result = f.apply(kSite);
    CHECK(result.failure.code == Code::ResourceExhausted);
    CHECK_THAT(result.failure.message, Catch::Contains("table subscribers is full"));
    CHECK_FALSE(f.catalog.get(Kind::Subscriber, "site-1"));
    f.link.stop();
}

TEST_CASE("a replay that the data plane refuses is shown, and tried again when the store changes",
          "[threads]") {
    Fixture f;
    const FakeDataplane dataplane(f.folder.file("dp.sock"), sb::kVersion, [](int connection, int) {
        return connection == 0 ? sb::Status::Full : sb::Status::Ok;
    });
    f.link.start();
    REQUIRE(f.comes_to(LinkState::Refused));
    CHECK_THAT(f.link.status(false).detail, Catch::Contains("table subscribers is full"));
    CHECK(f.apply(kSite).outcome == Result::Outcome::Created);
    REQUIRE(f.comes_to(LinkState::InSync));
    CHECK(f.link.status(false).installed_revision == f.catalog.revision());
    f.link.stop();
}

TEST_CASE("one object that the data plane cannot take is named and keeps no other from it",
          "[threads]") {
    Fixture f;
    REQUIRE(f.apply(kSite).failure.ok());
    const FakeDataplane dataplane(f.folder.file("dp.sock"), sb::kVersion, [](int, int commit) {
        return commit == 0 ? sb::Status::Malformed : sb::Status::Ok;
    });
    f.link.start();
    REQUIRE(f.comes_to(LinkState::Incomplete));
    CHECK_THAT(f.link.status(false).detail, Catch::Contains("pool/v4 is not installed"));
    CHECK_THAT(f.link.status(false).left_out, Catch::Contains("pool/v4 is not installed"));
    CHECK(dataplane.syncs() == 1);
    // A change may have taken the cause away.
    CHECK(f.apply(kSite, Request::Mode::Delete).outcome == Result::Outcome::Deleted);
    REQUIRE(f.comes_to(LinkState::InSync));
    CHECK(dataplane.syncs() == 2);
    CHECK(dataplane.connections() == 0);
    CHECK(f.link.status(false).detail.empty());
    CHECK(f.link.status(false).left_out.empty());
    f.link.stop();
}

TEST_CASE("a hundred objects that the data plane cannot take keep no other from it", "[threads]") {
    Fixture f;
    for (int n = 0; n < 120; ++n) {
        const std::string json = R"({"pool":{"name":"more-)" + std::to_string(n) +
                                 R"(","prefix":"10.)" + std::to_string(n) + R"(.0.0/16"}})";
        REQUIRE(f.apply(json.c_str()).failure.ok());
    }
    const FakeDataplane dataplane(f.folder.file("dp.sock"), sb::kVersion, [](int, int commit) {
        return commit < 100 ? sb::Status::Malformed : sb::Status::Ok;
    });
    f.link.start();
    REQUIRE(f.comes_to(LinkState::Incomplete));
    CHECK_THAT(f.link.status(false).detail, Catch::EndsWith("and 92 more are not installed"));
    f.link.stop();
}

TEST_CASE("a subscriber around something of the router's own is named while it is so",
          "[threads]") {
    Fixture f;
    REQUIRE(f.apply(kSite).failure.ok());
    FakeDataplane dataplane(f.folder.file("dp.sock"), sb::kVersion, accept_all);
    dataplane.around_own =
        std::get<v1::Subscriber>(*f.catalog.get(Kind::Subscriber, "site-1")).id();
    f.link.start();
    REQUIRE(f.comes_to(LinkState::InSync));
    REQUIRE(eventually([&] { return !f.link.status(true).around_own.empty(); }));
    CHECK_THAT(f.link.status(false).detail,
               Catch::StartsWith("subscriber/site-1 has a prefix around an address"));
    dataplane.around_own = 0;
    REQUIRE(eventually([&] { return f.link.status(true).detail.empty(); }));
    f.link.stop();
}

TEST_CASE("a change that the store took during the replay, and the data plane refuses, is replayed",
          "[threads]") {
    Fixture f;
    const FakeDataplane dataplane(
        f.folder.file("dp.sock"), sb::kVersion, [&f](int connection, int commit) {
            if (connection == 0 && commit == 0) (void)f.apply(kSite);
            return connection == 0 && commit == 1 ? sb::Status::BadReference : sb::Status::Ok;
        });
    f.link.start();
    REQUIRE(eventually([&] { return dataplane.connections() == 1; }));
    REQUIRE(f.comes_to(LinkState::InSync));
    CHECK(f.link.status(false).installed_revision == f.catalog.revision());
    f.link.stop();
}

TEST_CASE("an explicit deletion carries force; a sweep only against a known incarnation",
          "[threads]") {
    Fixture f;
    REQUIRE(f.apply(kSite).failure.ok());
    const FakeDataplane dataplane(f.folder.file("dp.sock"), sb::kVersion, accept_all);
    f.link.start();
    REQUIRE(f.comes_to(LinkState::InSync));
    CHECK(dataplane.last_sync_flags() == 0);
    CHECK(f.apply(kSite, Request::Mode::Delete).outcome == Result::Outcome::Deleted);
    CHECK(dataplane.last_commit_flags() == sb::kForce);
    f.link.resync();
    REQUIRE(eventually([&] { return dataplane.syncs() == 2; }));
    CHECK(dataplane.last_sync_flags() == sb::kForce);
    f.link.stop();
}

}  // namespace dr::control::test
