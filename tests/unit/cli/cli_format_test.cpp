#include <catch2/catch.hpp>

#include "cli/format.h"
#include "cli/json.h"
#include "cli/live_view.h"
#include "cli/rates.h"
#include "cli/resource_json.h"
#include "cli/table.h"
#include "dr/v1/api.pb.h"

using namespace dr::cli;
using namespace std::chrono_literals;

TEST_CASE("a table is as wide as its cells and has no trailing blanks") {
    Table table({{"NAME"}, {"COUNT", Align::Right}, {"NOTE"}});
    table.add({"a", "1", ""});
    table.add({"longer-name", "1234567", "x"});
    CHECK(table.flush() ==
          "NAME           COUNT  NOTE\n"
          "a                  1\n"
          "longer-name  1234567  x\n");
    table.add({"b", "2", "y"});
    CHECK(table.flush() == "b                  2  y\n");
}

TEST_CASE("a table does not let control characters through to the terminal") {
    Table table({{"X"}});
    table.add({"\x1b[31m\n"});
    CHECK(table.flush() == "X\n\\x1b[31m\\x0a\n");
}

TEST_CASE("an empty table is its heading") {
    Table table({{"NAME"}, {"COUNT"}});
    CHECK(table.flush() == "NAME  COUNT\n");
}

TEST_CASE("rates are shown with three digits and a unit") {
    CHECK(with_unit(0) == "0");
    CHECK(with_unit(999.4) == "999");
    CHECK(with_unit(999.6) == "1.00k");
    CHECK(with_unit(9999) == "10.0k");
    CHECK(with_unit(123456) == "123k");
    CHECK(with_unit(10.1e9) == "10.1G");
    CHECK(with_unit(5e15) == "5000T");
}

TEST_CASE("sizes are shown in binary units") {
    CHECK(bytes_text(1023) == "1023 B");
    CHECK(bytes_text(1536) == "1.5 KiB");
    CHECK(bytes_text(std::uint64_t{3} << 30) == "3.0 GiB");
}

TEST_CASE("durations are read with their units, and nothing else is a duration") {
    CHECK(parse_duration("500ms") == 500ms);
    CHECK(parse_duration("10s") == 10s);
    CHECK(parse_duration("1.5") == 1500ms);
    CHECK(parse_duration("2m") == 2min);
    CHECK(parse_duration("1h") == 1h);
    CHECK(parse_duration("3d") == 72h);
    for (const char* text : {"", "s", "10 s", "-1s", "1w", "nan", "inf", "1e300s"}) {
        CAPTURE(text);
        CHECK_FALSE(parse_duration(text));
    }
}

TEST_CASE("tunnel ids are decimal or hexadecimal numbers of 32 bits") {
    CHECK(parse_tunnel_id("16777257") == 16777257U);
    CHECK(parse_tunnel_id("0x1000029") == 16777257U);
    for (const char* text : {"", "0x", "-1", "4294967296", "12a", "1 "}) {
        CAPTURE(text);
        CHECK_FALSE(parse_tunnel_id(text));
    }
}

TEST_CASE("a remote endpoint shows its fixed port, IPv6 in brackets") {
    dr::v1::Tunnel tunnel;
    tunnel.set_remote("2001:db8::7");
    CHECK(remote_text(tunnel) == "2001:db8::7");
    tunnel.set_remote_port(4754);
    CHECK(remote_text(tunnel) == "[2001:db8::7]:4754");
    tunnel.set_remote("198.51.100.7");
    CHECK(remote_text(tunnel) == "198.51.100.7:4754");
    tunnel.clear_remote();
    CHECK(remote_text(tunnel) == "learned:4754");
    tunnel.clear_remote_port();
    CHECK(remote_text(tunnel) == "learned");
}

TEST_CASE("JSON has every field without presence, and 64-bit integers as numbers") {
    dr::v1::ListExitsResponse::Exit one;
    one.set_name("drop.x");
    CHECK(to_json(one).dump() == R"({"name":"drop.x","help":"","count":0})");
    dr::v1::Subscriber subscriber;
    subscriber.add_tunnels()->set_encapsulation(dr::v1::GRE_UDP);
    subscriber.set_revision(std::int64_t{1} << 40);
    const auto json = to_json(subscriber);
    CHECK(json["revision"] == std::int64_t{1} << 40);
    CHECK(json["prefixes"].dump() == "[]");
    CHECK_FALSE(json.contains("hashSeed"));
    CHECK(json["tunnels"][0]["encapsulation"] == "GRE_UDP");
}

TEST_CASE("an encapsulation that is not the configured one is shown beside it") {
    CHECK(encapsulation_text(dr::v1::AUTO, dr::v1::GRE) == "AUTO, now GRE");
    CHECK(encapsulation_text(dr::v1::GRE_UDP, dr::v1::GRE_UDP) == "GRE_UDP");
    CHECK(encapsulation_text(dr::v1::GRE, dr::v1::ENCAPSULATION_UNSPECIFIED) == "GRE");
}

TEST_CASE("what is written as JSON is read back as the same resource") {
    dr::v1::Resource resource;
    auto* subscriber = resource.mutable_subscriber();
    subscriber->set_name("site-42");
    subscriber->add_prefixes("203.0.113.8/29");
    subscriber->set_hash_seed(0xffffffff);
    subscriber->set_revision(std::int64_t{1} << 60);
    auto* tunnel = subscriber->add_tunnels();
    tunnel->set_encapsulation(dr::v1::GRE);
    tunnel->set_id(16777257);
    const auto parsed = parse_resource(to_json(resource).dump());
    REQUIRE(parsed.ok());
    CHECK(parsed.name == "subscriber/site-42");
    CHECK(parsed.resource.SerializeAsString() == resource.SerializeAsString());
}

TEST_CASE("a field that the API does not have is an error that names resource and field") {
    const auto parsed =
        parse_resource(R"({"subscriber": {"name": "s", "tunnels": [{"bogus": 1}]}})");
    CHECK(parsed.name == "subscriber/s");
    CHECK(parsed.violation.field() == "subscriber.tunnels[0].bogus");
    CHECK(parsed.violation.description() == "unknown field");
}

TEST_CASE("a value of the wrong type is an error that names the field") {
    const auto parsed = parse_resource(R"({"pool": {"name": "p", "announce": "perhaps"}})");
    CHECK(parsed.violation.field() == "pool.announce");
    CHECK(parsed.violation.description() == "\"perhaps\" is neither true nor false");
    CHECK_FALSE(parse_resource(R"({"subscriber": {"tunnels": [{"encapsulation": "X"}]}})").ok());
}

TEST_CASE("an object of no kind, of two kinds or of a kind that does not exist is an error") {
    CHECK(parse_resource("{}").violation.description() ==
          "the object must hold a pool, a policy or a subscriber");
    const auto two = parse_resource(R"({"pool": {"name": "p"}, "policy": {}})");
    CHECK(two.name == "pool/p");
    CHECK(two.violation.field() == "policy");
    CHECK(two.violation.description() == "an object holds one kind: this one has a pool already");
    CHECK(parse_resource(R"({"tunnel": {}})").violation.field() == "tunnel");
}

namespace {

dr::v1::TunnelCounters counters(std::uint64_t packets, std::uint64_t at_ns,
                                const std::string& incarnation = "one") {
    dr::v1::TunnelCounters sample;
    sample.set_downlink_packets(packets);
    sample.set_downlink_bytes(packets * 100);
    sample.set_uplink_packets(packets * 2);
    sample.set_uplink_bytes(packets * 300);
    sample.set_incarnation(incarnation);
    sample.set_sampled_at_ns(at_ns);
    return sample;
}

}  // namespace

TEST_CASE("rates are differences over the server's time") {
    TunnelRateMeter meter;
    CHECK_FALSE(meter.update(7, counters(1000, 1'000'000'000)));
    const auto rates = meter.update(7, counters(1500, 1'500'000'000));
    REQUIRE(rates);
    CHECK(rates->downlink_packets_per_s == Approx(1000));
    CHECK(rates->downlink_bits_per_s == Approx(800'000));
    CHECK(rates->uplink_packets_per_s == Approx(2000));
    CHECK(rates->uplink_bits_per_s == Approx(2'400'000));
}

TEST_CASE("another incarnation of the data plane, or a slot used again, resets the rates") {
    TunnelRateMeter meter;
    (void)meter.update(7, counters(1000, 1'000'000'000));
    CHECK_FALSE(meter.update(7, counters(2000, 2'000'000'000, "two")));
    CHECK(meter.update(7, counters(2001, 3'000'000'000, "two")));
    CHECK_FALSE(meter.update(7, counters(1, 4'000'000'000, "two")));
    CHECK_FALSE(meter.update(7, counters(2, 4'000'000'000, "two")));
}

TEST_CASE("a tunnel that was away for a snapshot begins anew") {
    TunnelRateMeter meter;
    (void)meter.update(7, counters(1, 1'000'000'000));
    meter.end_snapshot();
    meter.end_snapshot();
    CHECK_FALSE(meter.update(7, counters(2, 2'000'000'000)));
}

TEST_CASE("named counters have rates from the second snapshot on") {
    CounterRateMeter meter;
    dr::v1::CountersSnapshot snapshot;
    (*snapshot.mutable_counters())["drop.x"] = 10;
    snapshot.set_sampled_at_ns(1'000'000'000);
    CHECK(meter.update(snapshot).empty());
    (*snapshot.mutable_counters())["drop.x"] = 30;
    snapshot.set_sampled_at_ns(3'000'000'000);
    CHECK(meter.update(snapshot).at("drop.x") == Approx(10));
    snapshot.set_incarnation("other");
    snapshot.set_sampled_at_ns(4'000'000'000);
    CHECK(meter.update(snapshot).empty());
}

TEST_CASE("a live table is cut to the screen and says how much is missing") {
    CHECK(fit_to_screen("abcdef\nb\n", 24, 3) == "abc\nb\n");
    CHECK(fit_to_screen("h\n1\n2\n3\n", 5, 80) == "h\n1\n2\n3\n");
    CHECK(fit_to_screen("h\n1\n2\n3\n4\n", 5, 80) == "h\n1\n2\n... 2 more\n");
}

TEST_CASE("a remark that does not fit beside its row stands whole below it") {
    const std::string table = "ID  RTT\n 1  2ms\n";
    CHECK(with_remarks(table, "WHY", {"standby"}, 16) == "ID  RTT  WHY\n 1  2ms  standby\n");
    CHECK(with_remarks(table, "WHY", {"standby"}, 15) == "ID  RTT\n 1  2ms\n    standby\n");
    CHECK(with_remarks(table, "WHY", {"standby"}, 3) == "ID  RTT\n 1  2ms\n    standby\n");
    CHECK(with_remarks("ID\n", "WHY", {}, SIZE_MAX) == "ID  WHY\n");
}
