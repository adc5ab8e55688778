// Tests of the drops memfd's reader, with damaged memory too.
#include "control/telemetry/drops_map.h"

#include <fcntl.h>
#include <linux/memfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include "control/telemetry/dropped_frame.h"
#include "dataplane/server/drops_memfd.h"
#include "dataplane/worker/exits.h"

namespace dr::control {
namespace {

namespace sb = southbound;

constexpr std::array<std::uint8_t, 16> kUuid{7};
constexpr std::uint64_t kHz = 2'000'000'000;

struct Fixture {
    std::unique_ptr<sb::DropsMemfd> memory;
    Fixture() {
        std::string error;
        memory = sb::DropsMemfd::create(kExitCount, 2, 64, kUuid, kHz, &error);
        REQUIRE(memory != nullptr);
    }
    [[nodiscard]] DropsMap map() const {
        return DropsMap(FileDescriptor(::dup(memory->fd())), memory->bytes(), kUuid);
    }
    void note(unsigned worker, unsigned exit, std::uint64_t number, std::uint64_t tsc) {
        sb::DropState state{};
        state.tsc = tsc;
        sb::write_sample(
            memory->worker(worker).samples[exit * sb::kDropSamples + number % sb::kDropSamples],
            number, state);
    }
};

void make_sound(sb::DropsHeader& h) {
    h.magic = sb::kDropsMagic;
    h.version = sb::kDropsVersion;
    h.workers = 2;
    h.exits = 1;
    h.tunnel_slots = 3;
    h.samples = 128;
    h.sample_stride = sb::kDropSamples * sizeof(sb::DropSample);
    h.tunnels = h.samples + 2 * h.sample_stride;
    h.tunnel_stride = 3 * sizeof(sb::TunnelDrops);
    h.tsc_hz = kHz;
}

void open(const sb::DropsHeader& header) {
    constexpr std::uint64_t kBytes = 8192;
    FileDescriptor fd(::memfd_create("drops-test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    REQUIRE(::ftruncate(fd.get(), kBytes) == 0);
    REQUIRE(::pwrite(fd.get(), &header, sizeof header, 0) == sizeof header);
    REQUIRE(::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK) == 0);
    const DropsMap map(fd, kBytes, {});
    (void)map.samples(0);
    (void)map.tunnel(2);
}

}  // namespace

TEST_CASE("notes of drops of all workers are read newest first, at the time of their clock") {
    Fixture f;
    f.memory->set_clock(10 * kHz, 5'000'000'000);
    f.note(0, 3, 0, 8 * kHz);
    f.note(1, 3, 0, 9 * kHz);
    for (std::uint64_t n = 0; n <= sb::kDropSamples; ++n) f.note(0, 4, n, 10 * kHz + n);
    const DropsMap map = f.map();
    const auto samples = map.samples(3);
    REQUIRE(samples.size() == 2);
    CHECK(samples[0].at_ns == 4'000'000'000);
    CHECK(samples[1].at_ns == 3'000'000'000);
    CHECK(map.samples(4).size() == sb::kDropSamples);
    CHECK(map.samples(5).empty());
    CHECK(map.samples(1'000'000).empty());
}

TEST_CASE("a tunnel's drops are the sum over the workers, by reason") {
    Fixture f;
    const auto reason = [](std::uint64_t exit, std::uint64_t count) {
        return exit << sb::TunnelDrops::kExitShift | count;
    };
    f.memory->worker(0).tunnels[9] = {{reason(40, 5), reason(41, 1), 0}, 0};
    f.memory->worker(1).tunnels[9] = {{reason(41, 2), 0, 0}, 7};
    const auto drops = f.map().tunnel(0x02000009);
    CHECK(drops.by_exit == std::map<unsigned, std::uint64_t>{{40, 5}, {41, 3}});
    CHECK(drops.others == 7);
    CHECK(f.map().tunnel(64).by_exit.empty());
}

TEST_CASE("notes of drops whose header does not fit their memfd are refused") {
    sb::DropsHeader whole{};
    make_sound(whole);
    CHECK_NOTHROW(open(whole));
    const auto refused = [](auto change) {
        sb::DropsHeader header{};
        make_sound(header);
        change(header);
        CHECK_THROWS_WITH(open(header), Catch::StartsWith("data plane: "));
    };
    refused([](auto& h) { h.version = 2; });
    refused([](auto& h) { h.tsc_hz = 0; });
    refused([](auto& h) { h.exits = 2; });
    refused([](auto& h) { h.tunnel_slots = 4; });
    refused([](auto& h) { h.samples = 129; });
    refused([](auto& h) { h.workers = 1U << 31; });
    refused([](auto& h) { h.tunnels = std::uint64_t{1} << 63; });
    refused([](auto& h) { h.sample_stride = std::uint64_t{1} << 62; });
}

TEST_CASE("of a dropped frame that ends anywhere, what is there is read and nothing beyond it") {
    // Ethernet, IPv4, UDP to 4754, GRE with key, inner IPv4 with TCP's ports.
    std::vector<std::uint8_t> frame(14 + 20 + 8 + 8 + 20 + 4);
    const auto put = [&](std::size_t at, std::initializer_list<int> bytes) {
        for (const int byte : bytes) frame[at++] = static_cast<std::uint8_t>(byte);
    };
    put(12, {0x08, 0x00, 0x45});
    put(14 + 9, {17, 0, 0, 198, 18, 1, 2, 198, 51, 100, 1, 0xc0, 0x01, 0x12, 0x92});
    put(14 + 28, {0x20, 0, 0x08, 0, 5, 0, 0, 9, 0x45});
    put(14 + 36 + 9, {6, 0, 0, 203, 0, 113, 10, 192, 0, 2, 2, 0x1f, 0x90, 0, 80});
    const DroppedFrame whole = read_frame(frame);
    REQUIRE(whole.ip.has_value());
    CHECK(to_string(whole.ip->source) == "198.18.1.2");
    CHECK(whole.ip->source_port == 0xc001);
    CHECK(whole.key == 0x05000009U);
    REQUIRE(whole.inner.has_value());
    CHECK(to_string(whole.inner->source) == "203.0.113.10");
    CHECK(whole.inner->destination_port == 80);
    for (std::size_t length = 0; length < frame.size(); ++length) {
        const std::vector<std::uint8_t> cut(frame.begin(),
                                            frame.begin() + static_cast<std::ptrdiff_t>(length));
        const DroppedFrame part = read_frame(cut);
        CHECK(part.key.has_value() == (length >= 14 + 20 + 8 + 8));
        CHECK(part.inner.has_value() == (length >= 14 + 20 + 8 + 8 + 20));
    }
}

TEST_CASE("of a dropped frame that is no IP packet, its addresses, type and VLAN are read") {
    const std::vector<std::uint8_t> tagged{2, 0,    0, 0,    0,   1,    2,    0, 0, 0, 0,
                                           2, 0x81, 0, 0xa0, 200, 0x88, 0xcc, 1, 2, 3};
    const DroppedFrame frame = read_frame(tagged);
    CHECK(frame.vlan == 200);
    CHECK(frame.ether_type == 0x88cc);
    CHECK(frame.destination_mac[5] == 1);
    CHECK(frame.source_mac[5] == 2);
    CHECK_FALSE(frame.ip.has_value());
}

}  // namespace dr::control
