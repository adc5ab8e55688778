// The steering program, run by the kernel on made packets (BPF_PROG_TEST_RUN). No socket is in its
// map here, so what it steers to the data plane is dropped: the state after a kill.
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <unistd.h>

#include <array>
#include <catch2/catch.hpp>
#include <cstring>
#include <vector>

#include "dataplane/ports/steering_maps.h"
#include "dataplane/wire/headers.h"

namespace {

using Bytes = std::vector<std::uint8_t>;

Bytes operator+(Bytes a, const Bytes& b) {
    a.insert(a.end(), b.begin(), b.end());
    return a;
}

dr::IpAddress address(const char* text) {
    return dr::parse_address(text).value();
}
dr::IpPrefix prefix(const char* text) {
    return dr::parse_prefix(text).value();
}

Bytes ethernet(std::uint16_t type) {
    Bytes b{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2};
    return b + Bytes{static_cast<std::uint8_t>(type >> 8), static_cast<std::uint8_t>(type)};
}

// fragment: the whole field, flags and offset. options: bytes of options.
Bytes ipv4(const char* to, std::uint8_t protocol, std::uint16_t fragment = 0,
           std::uint8_t options = 0) {
    Bytes b(20U + options, 1);
    b[0] = static_cast<std::uint8_t>(0x45 + options / 4);
    b[6] = static_cast<std::uint8_t>(fragment >> 8);
    b[7] = static_cast<std::uint8_t>(fragment);
    b[9] = protocol;
    const dr::IpAddress a = address(to);
    std::memcpy(b.data() + 16, a.bytes.data(), 4);
    return b;
}

Bytes ipv6(const char* to, std::uint8_t next) {
    Bytes b(40, 0);
    b[0] = 0x60;
    b[6] = next;
    b[7] = 64;
    const dr::IpAddress a = address(to);
    std::memcpy(b.data() + 24, a.bytes.data(), 16);
    return b;
}

Bytes extension(std::uint8_t next, std::uint8_t eights = 0) {
    Bytes b(8U + eights * 8U, 0);
    b[0] = next;
    b[1] = eights;
    return b;
}
Bytes fragment6(std::uint8_t next, std::uint16_t field) {
    return {next, 0, static_cast<std::uint8_t>(field >> 8), static_cast<std::uint8_t>(field), 0, 0,
            0,    1};
}

Bytes udp(std::uint16_t source, std::uint16_t destination) {
    const auto high = [](std::uint16_t v) { return static_cast<std::uint8_t>(v >> 8); };
    const auto low = [](std::uint16_t v) { return static_cast<std::uint8_t>(v); };
    return {high(source), low(source), high(destination), low(destination), 0, 8, 0, 0};
}
Bytes icmp(std::uint8_t type) {
    return {type, 0, 0, 0, 0, 0, 0, 0};
}
const Bytes kGre{0x20, 0, 8, 0, 1, 0, 0, 1};

Bytes packet4(const Bytes& rest) {
    return ethernet(0x0800) + rest;
}
Bytes packet6(const Bytes& rest) {
    return ethernet(0x86dd) + rest;
}

// The program with an own address of each family and a pool of each, or nothing where the test may
// not load it.
class Program {
  public:
    Program() {
        std::string error;
        file_ = dr::XdpObjectFile::create(&error);
        INFO(error);
        REQUIRE(file_);
        object_ = bpf_object__open_file(file_->path().c_str(), nullptr);
        REQUIRE(object_ != nullptr);
        REQUIRE(bpf_object__load(object_) == 0);
        fd_ = bpf_program__fd(bpf_object__find_program_by_name(object_, "dr_xdp_steer"));
        REQUIRE(fd_ >= 0);
        REQUIRE(maps.add_program(fd_, &error));
        REQUIRE(maps.set_locals({address("192.0.2.1"), address("2001:db8:ff::1")}));
        REQUIRE(maps.add_pool(prefix("203.0.113.0/24")));
        REQUIRE(maps.add_pool(prefix("2001:db8:5000::/40")));
    }
    ~Program() { bpf_object__close(object_); }
    Program(const Program&) = delete;
    Program& operator=(const Program&) = delete;

    [[nodiscard]] std::uint32_t run(const Bytes& packet) const {
        // The kernel runs no XDP program on less than an Ethernet header.
        std::array<std::uint8_t, 512> out{};
        LIBBPF_OPTS(bpf_test_run_opts, options);
        options.data_in = packet.data();
        options.data_size_in = static_cast<__u32>(packet.size());
        options.data_out = out.data();
        options.data_size_out = out.size();
        options.repeat = 1;
        REQUIRE(bpf_prog_test_run_opts(fd_, &options) == 0);
        return options.retval;
    }
    [[nodiscard]] bool steers(const Bytes& packet) const { return run(packet) == XDP_DROP; }
    // Without a socket in the map, what is steered is dropped too.
    [[nodiscard]] bool drops(const Bytes& packet) const { return run(packet) == XDP_DROP; }
    [[nodiscard]] bool passes(const Bytes& packet) const { return run(packet) == XDP_PASS; }

    dr::SteeringMaps maps;

  private:
    std::optional<dr::XdpObjectFile> file_;
    bpf_object* object_{};
    int fd_ = -1;
};

bool may_load() {
    if (geteuid() == 0) return true;
    WARN("skipped: loading an XDP program needs root");
    return false;
}

constexpr const char* kOwn4 = "192.0.2.1";
constexpr const char* kOwn6 = "2001:db8:ff::1";

}  // namespace

TEST_CASE("tunnel packets to an own address are steered, other traffic of it stays") {
    if (!may_load()) return;
    const Program p;
    CHECK(p.steers(packet4(ipv4(kOwn4, 47) + kGre)));
    CHECK(p.steers(packet4(ipv4(kOwn4, 17) + udp(50000, 4754))));
    CHECK(p.passes(packet4(ipv4(kOwn4, 17) + udp(4754, 53))));
    CHECK(p.passes(packet4(ipv4(kOwn4, 6) + Bytes(20, 0))));
    CHECK(p.passes(packet4(ipv4(kOwn4, 1) + icmp(8) + Bytes(56, 0))));
    CHECK(p.steers(packet6(ipv6(kOwn6, 47) + kGre)));
    CHECK(p.steers(packet6(ipv6(kOwn6, 17) + udp(50000, 4754))));
    CHECK(p.passes(packet6(ipv6(kOwn6, 17) + udp(50000, 53))));
    CHECK(p.passes(packet6(ipv6(kOwn6, 58) + icmp(135) + Bytes(24, 0))));
}

TEST_CASE("packets to a pool are steered whatever they are, packets to elsewhere stay") {
    if (!may_load()) return;
    const Program p;
    CHECK(p.steers(packet4(ipv4("203.0.113.0", 6) + Bytes(20, 0))));
    CHECK(p.steers(packet4(ipv4("203.0.113.255", 1, 0x2000) + Bytes(8, 0))));
    CHECK(p.passes(packet4(ipv4("203.0.114.0", 6) + Bytes(20, 0))));
    CHECK(p.passes(packet4(ipv4("192.0.2.2", 47) + kGre)));
    CHECK(p.steers(packet6(ipv6("2001:db8:50ff::1", 6) + Bytes(20, 0))));
    CHECK(p.passes(packet6(ipv6("2001:db8:5100::1", 6) + Bytes(20, 0))));
}

TEST_CASE("an own address inside a pool keeps its kernel") {
    if (!may_load()) return;
    Program p;
    REQUIRE(p.maps.add_pool(prefix("192.0.2.0/24")));
    CHECK(p.passes(packet4(ipv4(kOwn4, 6) + Bytes(20, 0))));
    CHECK(p.steers(packet4(ipv4(kOwn4, 47) + kGre)));
    CHECK(p.steers(packet4(ipv4("192.0.2.2", 6) + Bytes(20, 0))));
}

TEST_CASE("fragments that may be a tunnel's are steered, others stay") {
    if (!may_load()) return;
    const Program p;
    CHECK(p.steers(packet4(ipv4(kOwn4, 17, 0x2000) + udp(1, 4754))));
    CHECK(p.steers(packet4(ipv4(kOwn4, 17, 0x0010) + Bytes(8, 0))));
    CHECK(p.steers(packet4(ipv4(kOwn4, 47, 0x0010) + Bytes(8, 0))));
    CHECK(p.passes(packet4(ipv4(kOwn4, 6, 0x2000) + Bytes(20, 0))));
    CHECK(p.passes(packet4(ipv4(kOwn4, 1, 0x0010) + Bytes(64, 0))));
    CHECK(p.passes(packet4(ipv4(kOwn4, 17, 0x4000) + udp(1, 53))));  // DF is no fragment
    CHECK(p.steers(packet6(ipv6(kOwn6, 44) + fragment6(17, 0x0101) + Bytes(8, 0))));
    CHECK(p.steers(packet6(ipv6(kOwn6, 44) + fragment6(47, 0x0001) + kGre)));
    CHECK(p.passes(packet6(ipv6(kOwn6, 44) + fragment6(6, 0x0001) + Bytes(20, 0))));
    CHECK(p.passes(packet6(ipv6(kOwn6, 44) + fragment6(17, 0) + udp(1, 53))));  // atomic: whole
    CHECK(p.steers(packet6(ipv6(kOwn6, 44) + fragment6(17, 0) + udp(1, 4754))));
}

TEST_CASE("options and extension headers are stepped over") {
    if (!may_load()) return;
    const Program p;
    CHECK(p.steers(packet4(ipv4(kOwn4, 17, 0, 40) + udp(1, 4754))));
    CHECK(p.passes(packet4(ipv4(kOwn4, 17, 0, 40) + udp(1, 53))));
    CHECK(p.steers(packet6(ipv6(kOwn6, 0) + extension(60, 2) + extension(47) + kGre)));
    CHECK(p.steers(packet6(ipv6(kOwn6, 0) + extension(17) + udp(1, 4754))));
    CHECK(p.passes(packet6(ipv6(kOwn6, 0) + extension(17) + udp(1, 53))));
}

TEST_CASE("ICMP errors about tunnel packets are steered, about other packets they stay") {
    if (!may_load()) return;
    const Program p;
    const Bytes gre4 = ipv4("198.51.100.7", 47) + kGre;
    const Bytes udp4 = ipv4("198.51.100.7", 17, 0, 8) + udp(50000, 4754);
    const Bytes fixed4 = ipv4("198.51.100.7", 17) + udp(4754, 30000);
    const Bytes dns4 = ipv4("198.51.100.7", 17) + udp(50000, 53);
    for (const std::uint8_t type : Bytes{3, 11, 12}) {
        CHECK(p.steers(packet4(ipv4(kOwn4, 1) + icmp(type) + gre4)));
        CHECK(p.steers(packet4(ipv4(kOwn4, 1) + icmp(type) + udp4)));
        CHECK(p.steers(packet4(ipv4(kOwn4, 1) + icmp(type) + fixed4)));
        CHECK(p.passes(packet4(ipv4(kOwn4, 1) + icmp(type) + dns4)));
    }
    CHECK(p.passes(packet4(ipv4(kOwn4, 1) + icmp(0) + gre4)));
    for (const std::uint8_t type : Bytes{1, 2, 3, 4}) {
        CHECK(p.steers(packet6(ipv6(kOwn6, 58) + icmp(type) + ipv6("2001:db8::7", 47) + kGre)));
        CHECK(p.passes(packet6(ipv6(kOwn6, 58) + icmp(type) + ipv6("2001:db8::7", 6) + kGre)));
    }
    CHECK(p.passes(packet6(ipv6(kOwn6, 58) + icmp(129) + ipv6("2001:db8::7", 47) + kGre)));
}

TEST_CASE("a frame with a priority tag is steered as without it, a frame of a VLAN is not") {
    if (!may_load()) return;
    const Program p;
    const Bytes tunnel = ipv4(kOwn4, 17) + udp(1, 4754);
    const Bytes site = ipv6("2001:db8:5000::1", 6) + Bytes(20, 0);
    for (const std::uint16_t tag : {std::uint16_t{0x8100}, std::uint16_t{0x88a8}}) {
        for (const std::uint8_t priority : Bytes{0x00, 0x10, 0xa0, 0xf0}) {
            CHECK(p.steers(ethernet(tag) + Bytes{priority, 0, 8, 0} + tunnel));
            CHECK(p.steers(ethernet(tag) + Bytes{priority, 0, 0x86, 0xdd} + site));
            CHECK(p.passes(ethernet(tag) + Bytes{priority, 5, 8, 0} + tunnel));
            const auto high = static_cast<std::uint8_t>(priority | 1U);
            CHECK(p.passes(ethernet(tag) + Bytes{high, 0, 0x86, 0xdd} + site));
        }
        CHECK(p.passes(ethernet(tag) + Bytes{0, 0, 8, 6} + Bytes(28, 0)));
        CHECK(p.passes(ethernet(tag) + Bytes{0, 0, 8}));
    }
}

TEST_CASE(
    "a frame with several priority tags never falls through to the kernel with what is ours") {
    if (!may_load()) return;
    const Program p;
    const Bytes tunnel = ipv4(kOwn4, 17) + udp(1, 4754);
    const Bytes site = ipv6("2001:db8:5000::1", 6) + Bytes(20, 0);
    const Bytes elsewhere = ipv4("198.51.100.7", 17) + udp(1, 4754);
    for (const Bytes& inner : {Bytes{0x81, 0}, Bytes{0x88, 0xa8}}) {
        Bytes tags = ethernet(0x8100) + Bytes{0, 0};
        for (int more = 1; more < 8; ++more) {
            tags = tags + inner + Bytes{0xe0, 0};
            CHECK(p.drops(tags + Bytes{8, 0} + tunnel));
            CHECK(p.drops(tags + Bytes{0x86, 0xdd} + site));
            if (more < 4) CHECK(p.passes(tags + Bytes{8, 0} + elsewhere));
            // A VLAN's behind them is the kernel's.
            if (more < 4) CHECK(p.passes(tags + inner + Bytes{0, 5, 8, 0} + tunnel));
        }
    }
}

TEST_CASE("tagged, foreign and truncated frames stay with the kernel") {
    if (!may_load()) return;
    const Program p;
    CHECK(p.passes(ethernet(0x8100) + Bytes{0, 5, 8, 0} + ipv4(kOwn4, 47) + kGre));
    CHECK(p.passes(ethernet(0x0806) + Bytes(28, 0)));
    const Bytes whole = packet4(ipv4(kOwn4, 17) + udp(1, 4754));
    for (std::size_t length = 14; length < whole.size(); ++length)
        CHECK(p.passes(Bytes(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length))));
    Bytes lying = packet4(ipv4(kOwn4, 47) + kGre);
    lying[14] = 0x41;  // a header of 4 bytes
    CHECK(p.passes(lying));
}

TEST_CASE("addresses and pools that are taken away are steered no more") {
    if (!may_load()) return;
    Program p;
    p.maps.remove_pool(prefix("203.0.113.0/24"));
    CHECK(p.passes(packet4(ipv4("203.0.113.9", 6) + Bytes(20, 0))));
    REQUIRE(p.maps.set_locals({address("192.0.2.9")}));
    CHECK(p.passes(packet4(ipv4(kOwn4, 47) + kGre)));
    CHECK(p.steers(packet4(ipv4("192.0.2.9", 47) + kGre)));
    REQUIRE(p.maps.set_pools({prefix("203.0.113.0/25")}, true));
    CHECK(p.steers(packet6(ipv6("2001:db8:5000::1", 6) + Bytes(20, 0))));
    REQUIRE(p.maps.set_pools({prefix("203.0.113.0/25")}, false));
    CHECK(p.passes(packet6(ipv6("2001:db8:5000::1", 6) + Bytes(20, 0))));
    CHECK(p.steers(packet4(ipv4("203.0.113.9", 6) + Bytes(20, 0))));
}
