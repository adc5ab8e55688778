// The shipped scenarios, shortened, and what the simulator itself must be able to see.
#include <catch2/catch.hpp>
#include <cstdlib>
#include <map>

#include "tests/sim/world.h"

using namespace dr::sim;

namespace {

Scenario scenario(const std::string& name, unsigned tunnels, double hours) {
    const char* folder = std::getenv("SIM_SCENARIOS");
    Scenario s = load_scenario(std::string(folder == nullptr ? "tests/sim/scenarios" : folder) +
                               "/" + name + ".json");
    s.tunnels = tunnels;
    s.hours = hours;
    return s;
}

double per_subscriber_hour(unsigned count, const Scenario& s) {
    return count / (s.subscribers() * (s.hours - static_cast<double>(s.warmup) / 3.6e12));
}

}  // namespace

TEST_CASE("at 5 % loss no tunnel of ours goes down; three and five probes are too few") {
    const Scenario s = scenario("loss-5", 40, 4);
    const Result ours = simulate(s, "ours", 1);
    CHECK(ours.false_downs == 0);
    CHECK(ours.without_path_s == 0);
    CHECK(simulate(s, "frr-300x3", 1).false_downs > 200);
    CHECK(simulate(s, "plain-1000x3", 1).false_downs > 60);
    CHECK(simulate(s, "bird-100x5", 1).false_downs > 0);
}

TEST_CASE("a plain detector is wrong as often as arithmetic says") {
    // 300 ms x 3, shortened by 0-25 %, so a fourth keepalive is always too late: a direction goes
    // down when three in a row are lost, each 262.5 ms; a tunnel has two directions.
    const Scenario s = scenario("loss-5", 100, 10);
    const double p3 = 0.05 * 0.05 * 0.05;
    const double each_hour = 2 * p3 * 0.95 * 3600 / 0.2625;
    const Result r = simulate(s, "frr-300x3", 1);
    CHECK(r.false_downs / (100 * 10.0) == Approx(each_hour).epsilon(0.05));
}

TEST_CASE("delays of an LTE line take no tunnel of the mobile profile down; fixed timers fail") {
    const Scenario s = scenario("lte-delay", 40, 4);
    const Result ours = simulate(s, "ours", 1);
    CHECK(ours.downs == 0);
    CHECK(ours.without_path_s == 0);
    for (const char* plain : {"frr-300x3", "bird-100x5", "plain-1000x3"}) {
        CHECK(simulate(s, plain, 1).false_downs > 500);
    }
}

TEST_CASE("bursts of 400 ms each minute do not move the path; 100 ms x 5 does move, for ever") {
    const Scenario s = scenario("bursts-400", 40, 4);
    const Result ours = simulate(s, "ours", 1);
    CHECK(ours.late_changes == 0);
    CHECK(ours.false_downs == 0);
    CHECK(per_subscriber_hour(simulate(s, "bird-100x5", 1).late_changes, s) > 50);
}

TEST_CASE("bursts of 400 ms on average move the path less than once an hour after ten minutes") {
    const Scenario s = scenario("bursts-mean-400", 40, 5);
    const Result ours = simulate(s, "ours", 1);
    CHECK(per_subscriber_hour(ours.late_changes, s) <= 1);
    CHECK(per_subscriber_hour(simulate(s, "frr-300x3", 1).late_changes, s) > 20);
}

TEST_CASE("the last usable tunnel is never removed, whatever bursts there are on both lines") {
    const Scenario s = scenario("bursts-both", 40, 4);
    const Result ours = simulate(s, "ours", 1);
    CHECK(ours.false_downs > 0);  // else it says nothing
    CHECK(ours.last_removed == 0);
    CHECK(simulate(s, "bird-100x5", 1).without_path_s > 0);
}

TEST_CASE("a line that flaps every 30 s moves the path at most three times in an hour") {
    for (const char* name : {"flap-30", "flap-60"}) {
        const Scenario s = scenario(name, 60, 1);
        const Result ours = simulate(s, "ours", 1);
        CHECK(ours.most_in_hour <= 3);
        CHECK(ours.most_in_hour >= 1);
        CHECK(ours.without_path_s == 0);
        CHECK(simulate(s, "frr-300x3", 1).most_in_hour > 100);
    }
}

TEST_CASE("a line that comes back stuttering is returned to once") {
    const Scenario s = scenario("return", 60, 1);
    const Result ours = simulate(s, "ours", 1);
    CHECK(ours.path_changes == 2 * s.subscribers());
    CHECK(ours.most_in_hour == 2);
    CHECK(simulate(s, "plain-1000x3", 1).path_changes > 10 * s.subscribers());
}

TEST_CASE("a silent cut is found at both ends within 1.1 s, sooner than by 1 s x 3") {
    for (const char* name : {"cut", "cut-one-way"}) {
        const Scenario s = scenario(name, 40, 2);
        Result ours = simulate(s, "ours", 1);
        CHECK(ours.undetected == 0);
        CHECK(ours.false_downs == 0);
        CHECK(ours.detected_ms.size() == 2 * ours.downs);
        CHECK(ours.detection_ms(0.99) <= 1100);
        CHECK(ours.detection_ms(0.01) >= 800);
        CHECK(simulate(s, "plain-1000x3", 1).detection_ms(0.5) > 2000);
    }
}

TEST_CASE("a detection time that bursts have lengthened is still found within its most") {
    const Scenario s = scenario("bursts-cut", 40, 4);
    Result ours = simulate(s, "ours", 1);
    CHECK(ours.detection_ms(0.5) > 1000);
    CHECK(ours.detection_ms(1) <= 3100);
}

TEST_CASE("the result depends on the seed alone") {
    Scenario s = scenario("bursts-both", 24, 1);
    const Result one = simulate(s, "ours", 1);
    const Result two = simulate(s, "ours", 2);
    CHECK(one.messages == two.messages);
    CHECK(one.false_downs == two.false_downs);
    CHECK(one.path_changes == two.path_changes);
    s.seed = 2;
    CHECK(simulate(s, "ours", 1).messages != one.messages);
}
