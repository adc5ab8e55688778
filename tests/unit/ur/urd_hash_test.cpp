// The eBPF program and the C++ functions choose the same tunnel for the same flow: random packets
// of every kind through BPF_PROG_TEST_RUN, against the hash of the tuple they were made from.
// Exit 0: the same for all; 1: not; 77: cannot run here (meson's code for skipped).
#include <netinet/in.h>

#include <array>
#include <cstdio>
#include <cstring>
#include <initializer_list>
#include <random>
#include <vector>

#include "dataplane/tables/bucket_map.h"
#include "dataplane/wire/flow_hash.h"
#include "tests/unit/ur/urd_program.h"
#include "ur/config_file.h"
#include "ur/site.h"

namespace {

constexpr unsigned kFlows = 1'000'000;
constexpr const char* kConfig = R"({
  "subscriber": "site", "prefixes": ["203.0.113.8/29"], "hashSeed": 3735928559,
  "policy": {"classes": [{"tiers": [{"lines": [{"line": "a", "weight": 3},
    {"line": "b", "weight": 2}, {"line": "c"}]}]}]},
  "tunnels": [{"line": "a", "encapsulation": "GRE", "remote": "192.0.2.1", "id": 1},
    {"line": "b", "encapsulation": "GRE", "remote": "192.0.2.1", "id": 2},
    {"line": "c", "encapsulation": "GRE", "remote": "192.0.2.1", "id": 3}]})";

using Bytes = std::vector<std::uint8_t>;

// A flow, and the packet that is made of it.
struct Flow {
    bool v6;
    std::array<std::uint8_t, 16> source, destination;
    std::uint8_t protocol;
    std::uint16_t source_port, destination_port;
};

enum class Shape { Whole, FirstFragment, LaterFragment, IcmpError, Reply, Shapes };

class Generator {
  public:
    Flow flow() {
        static constexpr std::array<std::uint8_t, 6> kProtocols{
            IPPROTO_TCP, IPPROTO_UDP, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMP, IPPROTO_SCTP};
        Flow f{};
        f.v6 = pick(2) != 0;
        for (auto* address : {&f.source, &f.destination})
            for (auto& byte : *address) byte = static_cast<std::uint8_t>(pick(256));
        f.protocol = kProtocols[pick(kProtocols.size())];
        if (f.protocol == IPPROTO_ICMP && f.v6) f.protocol = IPPROTO_ICMPV6;
        f.source_port = static_cast<std::uint16_t>(pick(65536));
        f.destination_port = static_cast<std::uint16_t>(pick(65536));
        return f;
    }

    // The IP packet. Ports stand where TCP and UDP have them; an echo request is ICMP.
    Bytes packet(const Flow& f, Shape shape) {
        Bytes upper = payload(f);
        if (shape == Shape::IcmpError) return error_about(f, ip(f, f.protocol, upper, {}));
        if (shape == Shape::FirstFragment) return ip(f, f.protocol, upper, fragment(0, true));
        if (shape == Shape::LaterFragment)
            return ip(f, f.protocol, upper, fragment(1 + pick(500), pick(2) != 0));
        return ip(f, f.protocol, upper, {});
    }

    std::size_t pick(std::size_t n) {
        return std::uniform_int_distribution<std::size_t>(0, n - 1)(r_);
    }

  private:
    struct Fragment {
        bool is = false;
        std::uint16_t offset = 0;  // 8-byte units
        bool more = false;
    };
    static Fragment fragment(std::size_t offset, bool more) {
        return {true, static_cast<std::uint16_t>(offset), more};
    }

    static void add(Bytes& b, std::initializer_list<std::uint8_t> bytes) {
        for (const auto byte : bytes) b.push_back(byte);
    }

    static void fill(Bytes& b, std::size_t size) {
        while (b.size() < size) b.push_back(0);
    }

    static void add16(Bytes& b, std::size_t v) {
        b.push_back(static_cast<std::uint8_t>(v >> 8));
        b.push_back(static_cast<std::uint8_t>(v));
    }

    Bytes payload(const Flow& f) {
        Bytes b;
        if (f.protocol == IPPROTO_ICMP || f.protocol == IPPROTO_ICMPV6) {
            add(b, {static_cast<std::uint8_t>(f.v6 ? 128 : 8), 0});
            add16(b, 0);
        } else {
            add16(b, f.source_port);
            add16(b, f.destination_port);
        }
        fill(b, 20 + pick(20));
        return b;
    }

    // Random chain of skipped extension headers in front of what `next` names.
    Bytes extensions(std::uint8_t& next, const Fragment& frag) {
        static constexpr std::array<std::uint8_t, 3> kSkipped{IPPROTO_HOPOPTS, IPPROTO_ROUTING,
                                                              IPPROTO_DSTOPTS};
        Bytes b;
        if (frag.is) {
            add(b, {next, 0});
            add16(b, static_cast<std::size_t>(frag.offset << 3 | (frag.more ? 1 : 0)));
            fill(b, 8);
            next = IPPROTO_FRAGMENT;
        }
        for (std::size_t n = pick(4) == 0 ? pick(4) : 0; n > 0; --n) {
            const auto units = static_cast<std::uint8_t>(pick(3));
            Bytes h{};
            add(h, {next, units});
            fill(h, (units + 1U) * 8U);
            next = kSkipped[pick(kSkipped.size())];
            b.insert(b.begin(), h.begin(), h.end());
        }
        return b;
    }

    Bytes ip(const Flow& f, std::uint8_t protocol, const Bytes& upper, const Fragment& frag) {
        Bytes b;
        if (f.v6) {
            std::uint8_t next = protocol;
            const Bytes chain = extensions(next, frag);
            add(b, {0x60, 0, 0, 0});
            add16(b, chain.size() + upper.size());
            add(b, {next, 64});
            b.insert(b.end(), f.source.begin(), f.source.end());
            b.insert(b.end(), f.destination.begin(), f.destination.end());
            b.insert(b.end(), chain.begin(), chain.end());
        } else {
            const auto options = pick(4) == 0 ? pick(11) : 0;
            add(b, {static_cast<std::uint8_t>(0x45 + options), 0});
            add16(b, 20 + options * 4 + upper.size());
            add16(b, 77);
            const std::size_t whole = pick(2) != 0 ? 0x4000 : 0;
            add16(b, frag.is ? static_cast<std::size_t>((frag.more ? 0x2000 : 0) | frag.offset)
                             : whole);
            add(b, {64, protocol, 0, 0});
            b.insert(b.end(), f.source.begin(), f.source.begin() + 4);
            b.insert(b.end(), f.destination.begin(), f.destination.begin() + 4);
            fill(b, 20 + options * 4);
        }
        b.insert(b.end(), upper.begin(), upper.end());
        return b;
    }

    // From a router somewhere to the flow's source: the flow is that of the packet quoted.
    Bytes error_about(const Flow& f, const Bytes& quoted) {
        static constexpr std::array<std::uint8_t, 5> kErrors4{3, 4, 5, 11, 12};
        static constexpr std::array<std::uint8_t, 4> kErrors6{1, 2, 3, 4};
        Flow outside = flow();
        outside.v6 = f.v6;
        outside.destination = f.source;
        Bytes b;
        add(b, {f.v6 ? kErrors6[pick(4)] : kErrors4[pick(5)]});
        fill(b, 8);
        b.insert(b.end(), quoted.begin(), quoted.end());
        constexpr std::uint8_t kIcmp6 = IPPROTO_ICMPV6, kIcmp4 = IPPROTO_ICMP;
        return ip(outside, f.v6 ? kIcmp6 : kIcmp4, b, {});
    }

    std::mt19937_64 r_{20260501};
};

std::uint64_t load(const std::uint8_t* p, unsigned bytes) {
    std::uint64_t v = 0;
    for (unsigned i = 0; i < bytes; ++i) v = v << 8 | p[i];
    return v;
}

std::uint64_t end_of(const Flow& f, const std::array<std::uint8_t, 16>& a, std::uint16_t port) {
    if (f.v6) return dr_flow_end6(load(a.data(), 8), load(a.data() + 8, 8), port);
    return dr_flow_end4(static_cast<std::uint32_t>(load(a.data(), 4)), port);
}

std::uint32_t expected_hash(const Flow& f, Shape shape, std::uint32_t seed) {
    const bool fragment = shape == Shape::FirstFragment || shape == Shape::LaterFragment;
    const bool ports = !fragment && (f.protocol == IPPROTO_TCP || f.protocol == IPPROTO_UDP);
    return dr_flow_hash(end_of(f, f.source, ports ? f.source_port : 0),
                        end_of(f, f.destination, ports ? f.destination_port : 0), f.protocol, seed);
}

// How many of the flows differ; the first few are told.
unsigned compare(const bpf_program* program, const dr::ur::Config& config,
                 std::array<unsigned, 3>& used) {
    const dr::BucketMap map = dr::make_bucket_map(config.classes[0].tiers, 0b111);
    Generator random;
    unsigned different = 0;
    for (unsigned i = 0; i < kFlows; ++i) {
        Flow flow = random.flow();
        const auto shape = static_cast<Shape>(random.pick(static_cast<std::size_t>(Shape::Shapes)));
        const std::uint32_t want = expected_hash(flow, shape, config.seed);
        if (shape == Shape::Reply) {
            std::swap(flow.source, flow.destination);
            std::swap(flow.source_port, flow.destination_port);
        }
        std::uint32_t verdict = 0;
        __sk_buff left{};
        const bool ran =
            dr::ur::test::run_program(program, random.packet(flow, shape), &verdict, &left);
        const int slot = ran ? static_cast<int>(verdict) : -1;
        const std::uint32_t hash = left.cb[0];
        const int want_slot = map.line[dr_flow_bucket(want)];
        if ((slot != want_slot || hash != want) && ++different <= 5)
            std::printf("flow %u, shape %d, IPv%d, protocol %u: eBPF %d, %08x; C++ %d, %08x\n", i,
                        static_cast<int>(shape), flow.v6 ? 6 : 4, unsigned{flow.protocol}, slot,
                        hash, want_slot, want);
        ++used[static_cast<std::size_t>(want_slot)];
    }
    return different;
}

}  // namespace

int main() {
    int end = 0;
    const auto skeleton = dr::ur::test::open_programs(&end);
    if (!skeleton) return end;
    const auto config = dr::ur::parse_config(kConfig);
    auto& site = *reinterpret_cast<ur_site*>(&skeleton->bss->site);
    dr::ur::fill_site(config, site);
    dr::ur::publish_buckets(dr::ur::plan_buckets(config, dr::ur::everywhere(0b111)), site);
    end = dr::ur::test::load_programs(skeleton.get());
    if (end != 0) return end;
    std::array<unsigned, 3> used{};
    const unsigned different = compare(skeleton->progs.urd_choice, config, used);
    std::printf("%u flows, %u differ; by line: %u %u %u\n", kFlows, different, used[0], used[1],
                used[2]);
    const bool spread = used[0] > kFlows / 10 && used[1] > kFlows / 10 && used[2] > kFlows / 10;
    return different == 0 && spread ? 0 : 1;
}
