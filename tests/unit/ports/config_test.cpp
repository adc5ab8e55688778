// Each mistake in a configuration file is named by its place, with what would be right.
#include "dataplane/config/config.h"

#include <algorithm>
#include <catch2/catch.hpp>

#include "dataplane/ports/eal.h"

namespace {

struct Parsed {
    bool good;
    dr::Config config;
    std::vector<std::string> errors;

    bool says(const std::string& text) const {
        return std::any_of(errors.begin(), errors.end(),
                           [&](const std::string& e) { return e.find(text) != std::string::npos; });
    }
};

Parsed parse(const std::string& text) {
    Parsed parsed{};
    parsed.good = dr::parse_config(text, &parsed.config, &parsed.errors);
    for (const std::string& error : parsed.errors) UNSCOPED_INFO(error);
    return parsed;
}

// A file with one port of these keys.
Parsed parse_port(const std::string& keys) {
    return parse(R"({"ports": [{"name": "up0", )" + keys + "}]}");
}

}  // namespace

TEST_CASE("a small file gets the documented defaults") {
    const Parsed p = parse(R"({"ports": [{"name": "up0", "kind": "af_xdp", "interface": "d0"}]})");
    REQUIRE(p.good);
    CHECK(p.config.socket == "/run/dr/dataplane.sock");
    CHECK(p.config.workers == 1);
    CHECK(p.config.sleep_when_idle);
    CHECK(p.config.memory_mib == 256);
    CHECK(p.config.mbufs == 16'384);
    CHECK(p.config.capacity.subscribers == 1'000'000);
    REQUIRE(p.config.ports.size() == 1);
    CHECK(p.config.ports[0].mirrors_kernel());
    CHECK(p.config.ports[0].queues == 1);
    CHECK_FALSE(p.config.ports[0].vlan_stripping);
}

TEST_CASE("the socket's group is read, and an empty one is refused") {
    const std::string ports = R"(, "ports": [{"name": "up0", "kind": "null"}]})";
    const Parsed p = parse(R"({"socket_group": "drd")" + ports);
    REQUIRE(p.good);
    CHECK(p.config.socket_group == "drd");
    CHECK(parse(R"({"socket_group": "")" + ports).says("socket_group: "));
    CHECK(parse(R"({"socket_group": 7)" + ports).says("socket_group: "));
}

TEST_CASE("a port with everything set is read as written") {
    const Parsed p = parse_port(R"("kind": "pcap", "rx": ["a.pcap", "b.pcap"], "tx": "out.pcap",
        "gated": true, "mtu": 1400, "mac": "02:00:00:00:00:aB", "addresses": ["192.0.2.1/24",
        "2001:db8:ff::1/64"], "routes": [{"prefix": "0.0.0.0/0", "via": "192.0.2.254"},
        {"prefix": "::/0", "via": "fe80::1"}],
        "neighbours": [{"address": "192.0.2.254", "mac": "02:00:00:00:00:fe"}])");
    REQUIRE(p.good);
    const dr::PortConfig& port = p.config.ports[0];
    CHECK(port.rx == std::vector<std::string>{"a.pcap", "b.pcap"});
    CHECK(port.gated);
    CHECK(port.mtu == 1400);
    CHECK(port.mac == dr::wire::Mac{2, 0, 0, 0, 0, 0xab});
    REQUIRE(port.addresses.size() == 2);
    CHECK(dr::to_string(port.addresses[0]) == "192.0.2.1/24");
    CHECK(port.routes.size() == 2);
    CHECK(port.neighbours[0].mac[5] == 0xfe);
    CHECK_FALSE(port.mirrors_kernel());
}

TEST_CASE("text that is not JSON is refused with line and column") {
    const Parsed p = parse("{\"workers\": 1,\n  \"ports\": [,]}");
    CHECK_FALSE(p.good);
    CHECK(p.says("line 2, column 13"));
    CHECK_FALSE(parse("[]").good);
    CHECK_FALSE(parse("").good);
}

TEST_CASE("an unknown key is an error that lists the known ones") {
    CHECK(parse_port(R"("kind": "null", "que": 2)").says("ports[0].que: unknown key"));
    CHECK(parse(R"({"worker": 1})")
              .says("worker: unknown key; known here: socket, socket_group, workers"));
    CHECK(parse(R"({"capacity": {"subscriber": 1}})").says("capacity.subscriber: unknown key"));
}

TEST_CASE("every error of a file is reported, not only the first") {
    const Parsed p = parse(R"({"workers": 0, "idle": "nap", "ports": [{"name": "a b"}]})");
    CHECK(p.says("workers: must be a whole number from 1 to 32, not 0"));
    CHECK(p.says("idle: must be \"sleep\" or \"poll\", not \"nap\""));
    CHECK(p.says("ports[0].name: \"a b\""));
    CHECK(p.says("ports[0].kind: must be one of"));
}

TEST_CASE("numbers of the wrong type, sign or size are refused") {
    CHECK(parse(R"({"workers": "1"})").says("workers: must be a whole number"));
    CHECK(parse(R"({"workers": -1})").says("workers: must be a whole number"));
    CHECK(parse(R"({"workers": 1.5})").says("not 1.5"));
    CHECK(parse_port(R"("kind": "null", "mtu": 1279)").says("ports[0].mtu"));
    CHECK(parse_port(R"("kind": "null", "mtu": 9601)").says("ports[0].mtu"));
    CHECK(parse(R"({"capacity": {"tunnels": 16777217}})").says("capacity.tunnels"));
}

TEST_CASE("a port says what its kind needs") {
    CHECK(parse_port(R"("kind": "af_xdp")").says("ports[0].interface: is needed"));
    CHECK(parse_port(R"("kind": "pci", "device": "3:0")").says("ports[0].device: must be a PCI"));
    CHECK(parse_port(R"("kind": "pci", "device": "0000:03:00.0")").good);
    CHECK(parse_port(R"("kind": "pcap")").says("ports[0].rx: a pcap port needs files"));
    CHECK(parse_port(R"("kind": "null", "rx": ["a"])").says("does not apply to kind null"));
    CHECK(parse_port(R"("kind": "pcap", "rx": ["a"], "infinite": true, "gated": true)").good);
    std::string files = "\"a\"";
    for (int i = 1; i < 16; ++i) files += ", \"a\"";
    CHECK(parse_port(R"("kind": "pcap", "rx": [)" + files + "]").good);
    CHECK(parse_port(R"("kind": "pcap", "rx": [)" + files + ", \"a\"]").says("has 17 files"));
    CHECK(parse_port(R"("kind": "memif", "memif": "/run/x.sock", "queues": 2)").good);
    CHECK(parse_port(R"("kind": "memif")").says("ports[0].memif: must be the absolute path"));
    CHECK(parse_port(R"("kind": "memif", "memif": "x.sock")").says("not \"x.sock\""));
    CHECK(parse_port(R"("kind": "memif", "memif": "/)" + std::string(107, 'x') + "\"")
              .says("at most 107 bytes"));
    CHECK(parse_port(R"("kind": "null", "memif": "/x")").says("it is for memif"));
    CHECK(parse_port(R"("kind": "af_xdp", "interface": "sixteen-and-more")").says("interface"));
}

TEST_CASE("addresses, routes and neighbours are checked one by one") {
    const std::string null = R"("kind": "null", )";
    CHECK(parse_port(null + R"("addresses": ["192.0.2.1/24", "192.0.2.300/24"])")
              .says("ports[0].addresses[1]: must be an address with its prefix length"));
    CHECK(parse_port(null + R"("addresses": ["192.0.2.1/24"],
        "routes": [{"prefix": "10.0.0.1/8", "via": "192.0.2.2"}])")
              .says("ports[0].routes[0].prefix"));
    CHECK(parse_port(null + R"("addresses": ["192.0.2.1/24"],
        "routes": [{"prefix": "10.0.0.0/8", "via": "198.51.100.1"}])")
              .says("198.51.100.1 is on none of the networks"));
    CHECK(parse_port(null + R"("addresses": ["192.0.2.1/24"],
        "routes": [{"prefix": "10.0.0.0/8", "via": "fe80::1"}])")
              .says("ports[0].routes[0].via"));
    CHECK(parse_port(null + R"("neighbours": [{"address": "192.0.2.2", "mac": "2:0:0:0:0:1"}])")
              .says("ports[0].neighbours[0].mac"));
    CHECK(parse_port(null + R"("mac": "01:00:00:00:00:01")").says("ports[0].mac"));
}

TEST_CASE("a port that mirrors the kernel takes no routes of its own") {
    CHECK(parse_port(R"("kind": "af_xdp", "interface": "d0", "routes": [])")
              .says("ports[0].routes: without \"addresses\" this port mirrors the kernel's"));
}

TEST_CASE("two ports cannot have one name, interface or output file") {
    const Parsed p = parse(R"({"ports": [
        {"name": "a", "kind": "af_xdp", "interface": "d0"},
        {"name": "a", "kind": "af_packet", "interface": "d0"}]})");
    CHECK(p.says("ports[1].name: \"a\" is ports[0]'s already"));
    CHECK(p.says("ports[1].interface: \"d0\" is ports[0]'s already"));
}

TEST_CASE("memory that cannot hold the packet buffers is refused with the least that can") {
    const Parsed p = parse(R"({"memory_mib": 64, "ports": [{"name": "a", "kind": "null"}]})");
    CHECK_FALSE(p.good);
    CHECK(p.says("memory_mib: 64 is too little for 16384 mbufs of MTU 1500; 88 at least"));
    CHECK(parse(R"({"memory_mib": 88, "ports": [{"name": "a", "kind": "null"}]})").good);
}

TEST_CASE("packet buffers have room for the largest MTU and 2 KiB at least") {
    CHECK(dr::mbuf_data_room(1500) == 128 + 2048);
    CHECK(dr::mbuf_data_room(9000) >= 128 + 9000 + 14 + 4);
}

TEST_CASE("CPUs are named for the main thread and each worker, or counted wrong") {
    CHECK(parse(R"({"workers": 2, "lcores": [0, 1]})").says("lcores: has 2 CPUs; 3 are needed"));
    CHECK(parse(R"({"lcores": [0, "1"]})").says("lcores: must be CPU numbers"));
}

TEST_CASE("liveness takes a number of threads and of tunnels, and nothing else") {
    const Parsed parsed = parse(R"({"liveness": {"threads": 2, "tunnels": 100000}})");
    CHECK(parsed.config.liveness.threads == 2);
    CHECK(parsed.config.liveness.tunnels == 100'000);
    CHECK(parse(R"({"liveness": {"threads": 0}})").says("liveness.threads"));
    CHECK(parse(R"({"liveness": {"interval": 1}})").says("liveness.interval"));
}

TEST_CASE("the main thread has the first CPU, and workers share what is left") {
    dr::Config config;
    CHECK(dr::lcores_argument(config, {0, 1, 2, 3}) == "0@0,1@1,2@0");
    config.workers = 3;
    CHECK(dr::lcores_argument(config, {0, 1}) == "0@0,1@1,2@1,3@1,4@0");
    CHECK(dr::lcores_argument(config, {4, 6, 7}) == "0@4,1@6,2@7,3@6,4@4");
    CHECK(dr::lcores_argument(config, {5}) == "0@5,1@5,2@5,3@5,4@5");
    config.lcores = {8, 9, 10, 11};
    CHECK(dr::lcores_argument(config, {0, 1}) == "0@8,1@9,2@10,3@11,4@8");
    config.liveness.threads = 2;
    CHECK(dr::lcores_argument(config, {0, 1}) == "0@8,1@9,2@10,3@11,4@8,5@8");
}

TEST_CASE("what is said of a file does not grow with the file") {
    const std::string long_one(2 << 20, '[');
    std::string many = "{";
    for (int i = 0; i < 5000; ++i) many += "\"k" + std::to_string(i) + "\": 1, ";
    const std::string deep = std::string(200'000, '[') + std::string(200'000, ']');
    for (const auto& text : {long_one, "\"" + long_one, "{\"" + long_one + "\": 1}",
                             "{\"workers\": \"" + long_one + "\"}",
                             "{\"ports\": [{\"name\": \"a\", \"addresses\": [" + deep + "]}]}",
                             many + "\"ports\": []}"}) {
        const Parsed p = parse(text);
        CHECK_FALSE(p.good);
        std::size_t bytes = 0;
        for (const auto& error : p.errors) bytes += error.size();
        CHECK(bytes < 60'000);
        CHECK(std::all_of(p.errors.begin(), p.errors.end(),
                          [](const auto& error) { return error.size() < 1100; }));
    }
}
