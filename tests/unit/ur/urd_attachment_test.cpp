// From an attachment to the site's configuration: what is read, and that each mistake is named.
#include <google/protobuf/util/json_util.h>

#include <catch2/catch.hpp>
#include <functional>

#include "dr/v1/api.pb.h"
#include "ur/attachment.h"
#include "ur/config_file.h"
#include "ur/site.h"

namespace v1 = dr::v1;
using dr::ur::Config;
using dr::ur::ConfigError;
using dr::ur::Translator;
using Devices = std::map<std::string, std::string>;

namespace {

v1::AttachedTunnel tunnel(const std::string& line, std::uint32_t id) {
    v1::AttachedTunnel t;
    t.set_id(id);
    t.set_line(line);
    t.set_encapsulation(v1::GRE_UDP);
    t.set_dr_address("198.51.100.1");
    t.set_dr_port(4754);
    t.set_mtu(1464);
    t.set_profile(v1::MOBILE);
    auto& key = *t.add_keys();
    key.set_number(7);
    key.set_key(std::string(32, 'k'));
    return t;
}

void add_class(v1::Attachment& a, const std::vector<std::string>& tiers) {
    auto& added = *a.mutable_policy()->add_classes();
    for (const auto& line : tiers) added.add_tiers()->add_lines()->set_line(line);
}

v1::Attachment good() {
    v1::Attachment a;
    a.set_generation(9);
    a.set_subscriber("site-42");
    a.set_hash_seed(99);
    a.set_policy_generation(70'000);  // only the low 16 bits travel
    a.set_wait_to_restore_s(5);
    a.add_prefixes("203.0.113.8/29");
    a.add_prefixes("2001:db8:5000::/48");
    add_class(a, {"b", "a"});
    *a.add_tunnels() = tunnel("a", 101);
    *a.add_tunnels() = tunnel("b", 102);
    return a;
}

std::string errors_of(const v1::Attachment& attachment) {
    try {
        Translator(Devices{{"a", "eth0"}}).translate(attachment);
    } catch (const ConfigError& e) {
        return e.what();
    }
    return {};
}

}  // namespace

TEST_CASE("an automatic tunnel begins in GRE-in-UDP") {
    v1::Attachment a = good();
    a.mutable_tunnels(0)->set_encapsulation(v1::AUTO);
    a.mutable_tunnels(1)->set_encapsulation(v1::GRE);
    const auto config = Translator(Devices{}).translate(a);
    CHECK((config.tunnels[0].udp && config.tunnels[0].automatic));
    CHECK_FALSE((config.tunnels[1].udp || config.tunnels[1].automatic));
    CHECK_FALSE(Translator(Devices{}).translate(good()).tunnels[0].automatic);
}

TEST_CASE("an attachment is read field by field") {
    const Config config = Translator(Devices{{"a", "eth0"}, {"b", "eth1"}}).translate(good());
    CHECK(config.subscriber == "site-42");
    CHECK(config.seed == 99);
    CHECK(config.policy_generation == 70'000 - 65'536);
    CHECK(config.restore_ms == 5'000);
    CHECK(config.prefixes.size() == 2);
    CHECK(config.lines == std::vector<std::string>{"b", "a"});
    const auto& t = config.tunnels[0];
    CHECK(t.id == 101);
    CHECK(t.udp);
    CHECK(t.device == "eth0");
    CHECK(t.number == 1);
    CHECK(dr::to_string(t.remote) == "198.51.100.1");
    CHECK(t.remote_port == 4754);
    CHECK(t.local_port == 0);
    CHECK(t.local.family == 0);
    CHECK(t.mtu == 1464);
    CHECK(t.profile == dr::liveness::ProfileId::Mobile);
    REQUIRE(t.keys.size() == 1);
    CHECK(t.keys[0].number == 7);
    CHECK(t.keys[0].bytes[31] == 'k');
}

TEST_CASE("lines have the numbers that the DR gives them, others what is left") {
    v1::Attachment attachment = good();
    auto& b = *attachment.mutable_policy()->add_line_numbers();
    b.set_line("b");
    b.set_number(3);
    const Config config = Translator(Devices{}).translate(attachment);
    CHECK(config.lines == std::vector<std::string>{"a", "", "", "b"});
    CHECK(config.tunnels[1].number == 3);
    CHECK(config.classes[0].tiers[0][0].line == 3);
    CHECK(config.classes[0].tiers[1][0].line == 0);
}

TEST_CASE("limits and strictness of a class are read") {
    v1::Attachment attachment = good();
    auto& c = *attachment.mutable_policy()->mutable_classes(0);
    c.set_max_loss_permille(20);
    c.set_max_rtt_ms(150);
    c.set_max_jitter_ms(30);
    c.set_strict(true);
    const auto read = Translator(Devices{}).translate(attachment).classes[0];
    CHECK(read.max_loss_permille == 20);
    CHECK(read.max_rtt_ms == 150);
    CHECK(read.max_jitter_ms == 30);
    CHECK(read.strict);
    const auto plain = Translator(Devices{}).translate(good()).classes[0];
    CHECK(plain.max_loss_permille + plain.max_rtt_ms + plain.max_jitter_ms == 0);
    CHECK_FALSE(plain.strict);
}

TEST_CASE("a line without a device waits: its tunnel is there, and has none") {
    const Config config = Translator(Devices{{"a", "eth0"}}).translate(good());
    REQUIRE(config.tunnels.size() == 2);
    CHECK(config.tunnels[1].device.empty());
}

TEST_CASE("a tunnel keeps its slot when the policy numbers its line anew") {
    Translator translator(Devices{{"a", "eth0"}, {"b", "eth1"}});
    const Config before = translator.translate(good());
    v1::Attachment attachment = good();
    attachment.mutable_policy()->clear_classes();
    add_class(attachment, {"a", "b"});
    const Config after = translator.translate(attachment);
    CHECK(before.tunnels[0].number != after.tunnels[0].number);
    CHECK(before.tunnels[0].slot == after.tunnels[0].slot);
    CHECK(before.tunnels[1].slot == after.tunnels[1].slot);
}

TEST_CASE("the slot of a tunnel that is gone is given to a new one, and no two share one") {
    Translator translator(Devices{});
    translator.translate(good());
    v1::Attachment attachment = good();
    attachment.mutable_tunnels()->DeleteSubrange(0, 1);
    *attachment.add_tunnels() = tunnel("c", 103);
    const Config config = translator.translate(attachment);
    CHECK(config.tunnels[0].slot == 1);
    CHECK(config.tunnels[1].slot == 0);
}

TEST_CASE("a refused attachment leaves the slots as they were") {
    Translator translator(Devices{});
    const Config before = translator.translate(good());
    v1::Attachment bad = good();
    bad.mutable_tunnels()->DeleteSubrange(0, 1);
    bad.mutable_tunnels(0)->set_dr_address("nowhere");
    CHECK_THROWS_AS(translator.translate(bad), ConfigError);
    CHECK(translator.translate(good()).tunnels[1].slot == before.tunnels[1].slot);
}

TEST_CASE("a mistake in an attachment is named with its place") {
    struct Mistake {
        void (*make)(v1::Attachment&);
        const char* message;
    };
    const std::vector<Mistake> mistakes{
        {[](v1::Attachment& a) { a.set_prefixes(0, "203.0.113.9/29"); }, "prefixes[0]: "},
        {[](v1::Attachment& a) { a.clear_prefixes(); }, "prefixes: 0 of them"},
        {[](v1::Attachment& a) { a.clear_policy(); }, "policy.classes: 0 of them"},
        {[](v1::Attachment& a) {
             auto& entry = *a.mutable_policy()->add_line_numbers();
             entry.set_line("a");
             entry.set_number(16);
         },
         "policy.line_numbers[0]: line a has number 16; must be at most 15"},
        {[](v1::Attachment& a) {
             for (const char* line : {"a", "b"})
                 a.mutable_policy()->add_line_numbers()->set_line(line);
         },
         "policy.line_numbers[1]: lines a and b have the same number"},
        {[](v1::Attachment& a) { a.mutable_policy()->mutable_classes(0)->set_max_rtt_ms(70'000); },
         "policy.classes[0].max_rtt_ms: is 70000; must be at most 60000"},
        {[](v1::Attachment& a) { a.mutable_tunnels(1)->set_dr_address("here"); },
         "tunnels[1].dr_address: \"here\" is not an address"},
        {[](v1::Attachment& a) { a.mutable_tunnels(1)->clear_dr_address(); },
         "tunnels[1].dr_address: is missing"},
        {[](v1::Attachment& a) { a.mutable_tunnels(0)->set_mtu(1000); }, "tunnels[0].mtu: is 1000"},
        {[](v1::Attachment& a) { a.mutable_tunnels(0)->set_ur_port(70'000); },
         "tunnels[0].ur_port: is 70000; must be at most 65535"},
        {[](v1::Attachment& a) { a.mutable_tunnels(0)->mutable_keys(0)->set_key("short"); },
         "tunnels[0].keys[0]: number 7 with 5 bytes"},
        {[](v1::Attachment& a) { a.mutable_tunnels(0)->mutable_keys(0)->set_number(0); },
         "tunnels[0].keys[0]: number 0"},
        {[](v1::Attachment& a) { a.mutable_tunnels(1)->set_line("a"); },
         "tunnels[1].line: \"a\" has a tunnel already"},
        {[](v1::Attachment& a) { a.mutable_tunnels(0)->set_dr_address("203.0.113.9"); },
         "tunnels[0].dr_address: 203.0.113.9 is inside the site's prefix"},
        {[](v1::Attachment& a) { a.mutable_tunnels(0)->set_id(0); }, "tunnels[0].id: is missing"},
        {[](v1::Attachment& a) { a.mutable_tunnels(0)->clear_encapsulation(); },
         "tunnels[0].encapsulation: is missing; must be"},
    };
    CHECK(errors_of(good()).empty());
    for (const auto& mistake : mistakes) {
        v1::Attachment attachment = good();
        mistake.make(attachment);
        INFO(mistake.message);
        CHECK_THAT(errors_of(attachment), Catch::Contains(mistake.message));
    }
}

TEST_CASE("a tunnel with keys has fixed ports to begin with, one without may vary them") {
    v1::Attachment attachment = good();
    attachment.mutable_tunnels(1)->clear_keys();
    const Config config = Translator(Devices{}).translate(attachment);
    const ur_tunnel with = dr::ur::make_tunnel(config.tunnels[0]);
    CHECK(with.keepalive == 1);
    CHECK(with.entropy == 0);
    CHECK(with.local_port == 4754);
    const ur_tunnel without = dr::ur::make_tunnel(config.tunnels[1]);
    CHECK(without.keepalive == 0);
    CHECK(without.entropy == 1);
}

TEST_CASE("an attachment that contradicts itself is refused, and the place is named") {
    const auto refused = [](const char* why, const std::function<void(v1::Attachment&)>& change) {
        v1::Attachment a = good();
        change(a);
        CHECK_THAT(errors_of(a), Catch::Contains(why));
    };
    // A line without a name took the number of one that has no name yet.
    refused("tunnels[0].line: is missing", [](auto& a) { a.mutable_tunnels(0)->clear_line(); });
    refused("policy.classes[1].tiers[0].lines[0].line: is missing",
            [](auto& a) { add_class(a, {""}); });
    refused("\"a\" stands twice", [](auto& a) { add_class(a, {"a", "b", "a"}); });
    refused("policy.classes[1].tiers: 0 of them", [](auto& a) { add_class(a, {}); });
    refused("policy.classes[0].tiers[2].lines: 0 of them",
            [](auto& a) { a.mutable_policy()->mutable_classes(0)->add_tiers(); });
    refused("policy.classes[1].tiers: 17 of them", [](auto& a) {
        std::vector<std::string> lines(17);
        for (auto& line : lines) line = "line-" + std::to_string(&line - lines.data());
        add_class(a, lines);
    });
    refused("policy.classes: 9 of them", [](auto& a) {
        while (a.policy().classes_size() < 9) add_class(a, {"a"});
    });
    refused("tunnels[1].line: z is one line more", [](auto& a) {
        std::vector<std::string> lines(15);
        for (auto& line : lines) line = "line-" + std::to_string(&line - lines.data());
        a.mutable_policy()->mutable_classes(0)->clear_tiers();
        a.mutable_policy()->mutable_classes(0)->add_tiers()->add_lines()->set_line("a");
        add_class(a, lines);
        a.mutable_tunnels(1)->set_line("z");
    });
}

TEST_CASE("a mistake has the same words in a file and in an attachment") {
    struct Mistake {
        std::function<void(v1::Policy&, std::string& prefix, v1::AttachedTunnel&)> make;
        const char* place;
        const char* words;
    };
    const auto tier = [](v1::Policy& p) -> v1::Tier& {
        return *p.mutable_classes(0)->mutable_tiers(0);
    };
    const std::vector<Mistake> mistakes{
        {[](auto&, auto& prefix, auto&) { prefix = "203.0.113.9/29"; }, "prefixes[0]",
         "is not a prefix; must be like"},
        {[](auto&, auto& prefix, auto&) { prefix = "127.0.0.0/8"; }, "prefixes[0]", "overlaps"},
        {[](auto&, auto& prefix, auto&) { prefix = "2001:db8:5000:1::/64"; }, "prefixes[1]",
         "overlaps 2001:db8:5000:1::/64; keep one of them"},
        {[](auto& p, auto&, auto&) { p.clear_classes(); }, "policy.classes", "0 of them"},
        {[&](auto& p, auto&, auto&) { tier(p).mutable_lines(0)->set_weight(256); },
         "policy.classes[0].tiers[0].lines[0].weight", "is 256; must be at most 255"},
        {[&](auto& p, auto&, auto&) { tier(p).clear_lines(); }, "policy.classes[0].tiers[0].lines",
         "0 of them; must be 1 to 16"},
        {[](auto& p, auto&, auto&) { p.mutable_classes(0)->set_max_loss_permille(1000); },
         "policy.classes[0].max", "is 1000; must be at most 999"},
        {[](auto&, auto&, auto& t) { t.set_id(0); }, "tunnels[0].id", "is missing; must be"},
        {[](auto&, auto&, auto& t) { t.set_mtu(1279); }, "tunnels[0].mtu",
         "is 1279; must be 1280 to 9000"},
        {[](auto&, auto&, auto& t) { t.set_line("A"); }, "tunnels[0].line",
         "\"A\" is no name of a line"},
        {[](auto&, auto&, auto& t) { t.set_line("b"); }, "tunnels[1].line", "has a tunnel already"},
        {[](auto&, auto&, auto& t) { t.clear_encapsulation(); }, "tunnels[0].encapsulation",
         "is missing; must be GRE"},
        {[](auto&, auto&, auto& t) { t.set_dr_address("x"); }, "tunnels[0].",
         "\"x\" is not an address; must be like"},
        {[](auto&, auto&, auto& t) { t.set_ur_address("224.0.0.1"); }, "tunnels[0].",
         "224.0.0.1 is multicast"},
    };
    for (const auto& mistake : mistakes) {
        INFO(mistake.words);
        v1::Attachment attachment = good();
        mistake.make(*attachment.mutable_policy(), *attachment.mutable_prefixes(0),
                     *attachment.mutable_tunnels(0));
        v1::UserRouterConfig file;
        *file.mutable_prefixes() = attachment.prefixes();
        *file.mutable_policy() = attachment.policy();
        for (const auto& t : attachment.tunnels()) {
            auto& written = *file.add_tunnels();
            written.set_line(t.line());
            written.set_encapsulation(t.encapsulation());
            written.set_local(t.ur_address());
            written.set_remote(t.dr_address());
            written.set_id(t.id());
            written.set_mtu(t.mtu());
        }
        std::string text;
        REQUIRE(google::protobuf::util::MessageToJsonString(file, &text).ok());
        const auto place = Catch::StartsWith(mistake.place);
        const auto words = Catch::Contains(mistake.words);
        CHECK_THAT(errors_of(attachment), place && words);
        CHECK_THROWS_WITH(dr::ur::parse_config(text), place && words);
    }
}
