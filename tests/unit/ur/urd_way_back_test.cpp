// Going back to the attachment that worked last, by a clock of the test's own.
#include <catch2/catch.hpp>
#include <filesystem>

#include "ur/signalling/way_back.h"

namespace v1 = dr::v1;
using namespace dr::ur;
using namespace std::chrono_literals;
using Catch::Contains;

namespace {

v1::Attachment attachment(std::uint64_t generation, const std::string& prefix) {
    v1::Attachment a;
    a.set_generation(generation);
    a.set_subscriber("site");
    a.add_prefixes(prefix);
    return a;
}
const v1::Attachment kGood = attachment(3, "203.0.113.0/29");
const v1::Attachment kBad = attachment(4, "198.18.0.0/15");

struct World {
    std::string folder = std::filesystem::temp_directory_path() / "dr-way-back-XXXXXX";
    WayBack::Time now{std::chrono::hours(1)};
    std::optional<AttachmentCache> current;
    std::optional<WayBack> way;
    std::string why;

    World() {
        REQUIRE(::mkdtemp(folder.data()) != nullptr);
        restart();
    }
    ~World() { std::filesystem::remove_all(folder); }
    World(const World&) = delete;
    World& operator=(const World&) = delete;

    // Returns what it begins with.
    std::optional<v1::Attachment> restart() {
        current.emplace(folder + "/attachment");
        way.emplace(folder + "/attachment", 120s);
        return way->start(*current, "site", now, why);
    }
    // As the client does: in force, on disk, told.
    void apply(const v1::Attachment& a) {
        REQUIRE(way->declines(a).empty());
        REQUIRE(current->save(a).empty());
        way->applied(a, now);
    }
    // In force with a stream that stands for long enough.
    void apply_well(const v1::Attachment& a) {
        apply(a);
        now += 20s;
        way->stands(now - 20s);
    }
    bool due() { return now >= way->due(); }
    std::uint64_t go_back() {
        const auto other = way->other();
        REQUIRE(way->gone_back(*current, now).empty());
        return other.generation();
    }
};

}  // namespace

TEST_CASE("an attachment that loses signalling is gone back from after the time, and not before") {
    World w;
    w.apply_well(kGood);
    CHECK(w.way->due() == WayBack::Time::max());
    w.apply(kBad);
    w.now += 119s;
    CHECK_FALSE(w.due());
    w.now += 1s;
    REQUIRE(w.due());
    CHECK(w.go_back() == 3);
    w.way->answered(w.now + 1s);
    CHECK(w.way->due() == WayBack::Time::max());
    CHECK_THAT(w.way->declines(kBad),
               Contains("generation 4 cut signalling") && Contains("generation 3 is in force"));
    CHECK(w.way->aside()->generation() == 4);
}

TEST_CASE("a stream that stands, or one that began after it was applied, makes it the good one") {
    World w;
    w.apply_well(kGood);
    w.apply(kBad);
    w.way->stands(w.now - 1s);    // since before it was applied
    w.way->answered(w.now - 1s);  // a stream from before
    CHECK(w.way->due() == w.now + 120s);
    CHECK(w.way->proof_due(20s) == w.now + 20s);
    SECTION("it stands") {
        w.way->stands(w.now);
    }
    SECTION("a new one is answered") {
        w.way->answered(w.now + 1ms);
    }
    CHECK(w.way->due() == WayBack::Time::max());
    CHECK(w.restart()->generation() == 4);
    CHECK(w.way->other().generation() == 4);
}

TEST_CASE("what was gone back from stays declined over a restart, until the DR says otherwise") {
    World w;
    w.apply_well(kGood);
    w.apply(kBad);
    w.now += 120s;
    w.go_back();
    CHECK(w.restart()->generation() == 3);
    v1::Attachment again = kBad;
    again.set_generation(99);  // the same content
    again.add_notes("hello");
    CHECK_FALSE(w.way->declines(again).empty());
    w.apply(attachment(5, "203.0.113.8/29"));
    CHECK(w.way->declines(kBad).empty());
    CHECK_FALSE(w.way->aside());
    CHECK(w.restart()->generation() == 5);
    CHECK(w.way->declines(kBad).empty());
}

TEST_CASE("a restart before it has worked counts the time anew, and then goes back") {
    World w;
    w.apply_well(kGood);
    w.apply(kBad);
    w.now += 60s;
    CHECK(w.restart()->generation() == 4);
    w.now += 119s;
    CHECK_FALSE(w.due());
    w.now += 1s;
    REQUIRE(w.due());
    CHECK(w.go_back() == 3);
}

TEST_CASE("a urd that was killed while it went back begins with the good one") {
    World w;
    w.apply_well(kGood);
    w.apply(kBad);
    REQUIRE(AttachmentCache(w.folder + "/attachment.aside").save(kBad).empty());
    CHECK(w.restart()->generation() == 3);
}

TEST_CASE("while no DR answers the two take turns, each for twice as long, up to 16 times") {
    World w;
    w.apply_well(kGood);
    w.apply(kBad);
    std::vector<std::uint64_t> turns;
    std::vector<std::int64_t> waits;
    for (int i = 0; i < 7; ++i) {
        waits.push_back(
            std::chrono::duration_cast<std::chrono::seconds>(w.way->due() - w.now).count());
        w.now = w.way->due();
        turns.push_back(w.go_back());
    }
    CHECK(turns == std::vector<std::uint64_t>{3, 4, 3, 4, 3, 4, 3});
    CHECK(waits == std::vector<std::int64_t>{120, 240, 480, 960, 1920, 1920, 1920});
    // Both stand on disk in each of these states.
    CHECK(w.restart()->generation() == 3);
    w.now = w.way->due();
    CHECK(w.go_back() == 4);
    w.way->answered(w.now + 1s);
    CHECK(w.way->declines(kBad).empty());
    CHECK(w.restart()->generation() == 4);
    CHECK(w.way->due() == WayBack::Time::max());
}

TEST_CASE("the first attachment of all that cuts signalling is gone back from to nothing") {
    World w;
    CHECK(w.way->due() == WayBack::Time::max());
    w.apply(kBad);
    w.now += 120s;
    REQUIRE(w.due());
    CHECK(w.way->other().subscriber().empty());
    w.go_back();
    w.way->answered(w.now + 1s);
    CHECK_THAT(w.way->declines(kBad), Contains("nothing is in force"));
    CHECK_FALSE(w.restart());
    w.apply(kGood);
    CHECK(w.restart()->generation() == 3);
}

TEST_CASE("an attachment from before there was a way back counts as one that worked") {
    World w;
    REQUIRE(w.current->save(kGood).empty());
    CHECK(w.restart()->generation() == 3);
    CHECK(w.way->due() == WayBack::Time::max());
    // It is still known after a restart in which another has taken its place.
    w.apply(kBad);
    CHECK(w.restart()->generation() == 4);
    w.now += 120s;
    REQUIRE(w.due());
    CHECK(w.go_back() == 3);
}

TEST_CASE(
    "an attachment that works and cannot be written is told of, and written as soon as it can be") {
    World w;
    const std::string file = w.folder + "/attachment.good";
    REQUIRE(std::filesystem::create_directories(file + "/in-the-way"));
    w.apply(kGood);
    w.now += 20s;
    CHECK_THAT(w.way->stands(w.now - 20s), Contains("attachment.good"));
    CHECK_THAT(w.way->answered(w.now), Contains("an older attachment is the one to go back to"));
    std::filesystem::remove_all(file);
    CHECK(w.way->stands(w.now).empty());
    CHECK(std::filesystem::is_regular_file(file));
    CHECK(w.way->stands(w.now).empty());
}
