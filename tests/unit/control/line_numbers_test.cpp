// Tests of line numbers: a line keeps its number.
#include "control/model/line_numbers.h"

#include <fmt/format.h>

#include <random>
#include <set>

#include "control/model/catalog.h"
#include "control/model/catalog_plan.h"
#include "control/store/sqlite.h"
#include "tests/unit/control/support.h"

namespace dr::control::test {
namespace {

using Numbers = std::map<std::string, unsigned>;
using Tiers = std::vector<std::vector<std::string>>;

std::string policy_json(const std::string& name, const Tiers& tiers, const char* more = "") {
    std::string text;
    for (const auto& tier : tiers) {
        std::string lines;
        for (const auto& line : tier)
            lines += fmt::format(R"({}{{"line":"{}"}})", lines.empty() ? "" : ",", line);
        text += fmt::format(R"({}{{"lines":[{}]}})", text.empty() ? "" : ",", lines);
    }
    return fmt::format(
        R"({{"policy":{{"name":"{}"{},"classes":[{{"name":"all","tiers":[{}]}}]}}}})", name, more,
        text);
}

Numbers numbers_of(const v1::Policy& policy) {
    Numbers out;
    for (const auto& entry : policy.line_numbers()) out[entry.line()] = entry.number();
    return out;
}

struct Fixture {
    TemporaryFolder folder;
    std::unique_ptr<Store> store = open_sqlite_store(folder.file("db"));
    std::unique_ptr<Catalog> catalog = std::make_unique<Catalog>(*store);

    Numbers apply(const std::string& name, const Tiers& tiers, const char* more = "") {
        const Result result =
            catalog->apply_one({Request::Mode::Apply, object(policy_json(name, tiers, more))});
        INFO(result.failure.message);
        REQUIRE(result.failure.ok());
        return numbers_of(std::get<v1::Policy>(*result.object));
    }
};

}  // namespace

TEST_CASE("a line keeps its number while the policy names it, whatever else changes") {
    Fixture f;
    CHECK(f.apply("p", {{"a"}, {"b"}}) == Numbers{{"a", 0}, {"b", 1}});
    CHECK(f.apply("p", {{"b"}, {"a"}}) == Numbers{{"a", 0}, {"b", 1}});
    CHECK(f.apply("p", {{"c", "b"}, {"a"}}) == Numbers{{"a", 0}, {"b", 1}, {"c", 2}});
    CHECK(f.apply("p", {{"c"}, {"b"}}) == Numbers{{"b", 1}, {"c", 2}});
    f.catalog = nullptr;
    f.catalog = std::make_unique<Catalog>(*f.store);
    CHECK(f.apply("p", {{"d"}, {"c"}, {"b"}})["c"] == 2);
}

TEST_CASE("a line that comes does not take the number that another has just left") {
    Fixture f;
    f.apply("p", {{"a"}, {"b"}});
    CHECK(f.apply("p", {{"a"}, {"c"}}) == Numbers{{"a", 0}, {"c", 2}});
}

TEST_CASE("policies give one number to lines of one name, and other numbers to others") {
    Fixture f;
    f.apply("p", {{"a"}, {"b"}});
    CHECK(f.apply("q", {{"b"}, {"a"}}) == Numbers{{"a", 0}, {"b", 1}});
    CHECK(f.apply("r", {{"c"}, {"b"}}) == Numbers{{"b", 1}, {"c", 2}});
    CHECK(f.apply("p", {{"d"}, {"c"}, {"a"}}) == Numbers{{"a", 0}, {"c", 2}, {"d", 3}});
}

TEST_CASE("numbers in a request are overwritten, and a policy sent again is unchanged") {
    Fixture f;
    f.apply("p", {{"a"}, {"b"}});
    const Request again{
        Request::Mode::Apply,
        object(policy_json("p", {{"a"}, {"b"}}, R"(,"lineNumbers":[{"line":"a","number":7}])"))};
    const Result result = f.catalog->apply_one(again);
    CHECK(result.outcome == Result::Outcome::Unchanged);
    CHECK(numbers_of(std::get<v1::Policy>(*result.object)) == Numbers{{"a", 0}, {"b", 1}});
}

TEST_CASE("up to sixteen lines have a number each, after any sequence of changes") {
    Fixture f;
    std::mt19937 random(4);  // fixed, so that a failure comes again
    Numbers before;
    for (int round = 0; round < 200; ++round) {
        std::set<std::string> lines;
        const unsigned count = round % 10 == 0 ? 16 : 1 + random() % 16;
        while (lines.size() < count) lines.insert(fmt::format("l{}", random() % 24));
        const Numbers now = f.apply("p", {{lines.begin(), lines.end()}});
        REQUIRE(now.size() == lines.size());
        std::set<unsigned> used;
        for (const auto& [line, number] : now) {
            CHECK(number < 16);
            CHECK(used.insert(number).second);
            if (const auto old = before.find(line); old != before.end())
                CHECK(old->second == number);
        }
        before = now;
    }
}

TEST_CASE("a policy that was stored without numbers has those that both ends counted") {
    v1::Policy stored = std::get<v1::Policy>(object(policy_json("p", {{"b"}, {"a", "c"}})));
    const auto read = std::get<v1::Policy>(parse_object(Kind::Policy, stored.SerializeAsString()));
    CHECK(numbers_of(read) == Numbers{{"b", 0}, {"a", 1}, {"c", 2}});
}

TEST_CASE("numbers, limits and strictness of a policy reach the data plane's record") {
    auto policy = std::get<v1::Policy>(object(policy_json("p", {{"b"}, {"a"}})));
    auto& c = *policy.mutable_classes(0);
    c.set_max_loss_permille(20);
    c.set_max_rtt_ms(150);
    c.set_max_jitter_ms(30);
    c.set_strict(true);
    for (const char* line : {"a", "b"}) {
        auto& entry = *policy.add_line_numbers();
        entry.set_line(line);
        entry.set_number(line[0] == 'a' ? 4 : 9);
    }
    const Record record = policy_record(policy, 1);
    southbound::PolicyRecord head;
    southbound::ClassRecord limits;
    southbound::LineRecord line;
    REQUIRE(record.size() == sizeof head + sizeof limits + 2 * sizeof line);
    std::memcpy(&head, record.data(), sizeof head);
    std::memcpy(&limits, record.data() + sizeof head, sizeof limits);
    std::memcpy(&line, record.data() + sizeof head + sizeof limits, sizeof line);
    CHECK(head.classes == 1);
    CHECK(limits.max_loss_permille == 20);
    CHECK(limits.max_rtt_ms == 150);
    CHECK(limits.max_jitter_ms == 30);
    CHECK(limits.strict == 1);
    CHECK(line.name[0] == 'b');
    CHECK(line.number == 9);
}

}  // namespace dr::control::test
