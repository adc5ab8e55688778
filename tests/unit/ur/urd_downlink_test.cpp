// Which packets of a line's device are the tunnels' and which the kernel's: made packets through
// the eBPF program (BPF_PROG_TEST_RUN).
// Exit 0: all as they must be; 1: not; 77: cannot run here (meson's code for skipped).
#include <linux/pkt_cls.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstdio>
#include <iterator>
#include <vector>

#include "tests/unit/ur/urd_program.h"
#include "ur/bpf/shared.h"

namespace {

using Bytes = std::vector<std::uint8_t>;

constexpr std::uint32_t kKey = 0x01000029;
constexpr std::uint32_t kPass = static_cast<std::uint32_t>(TC_ACT_UNSPEC);
constexpr std::uint8_t kPeer = 1;   // 192.0.2.1; the UR is .2
constexpr std::uint8_t kOther = 9;  // 192.0.2.9

enum class Row { Gre, GreUdp, AutoInUdp, AutoInGre };
constexpr const char* kRows[] = {"GRE", "GRE_UDP", "AUTO in UDP", "AUTO in native GRE"};

struct Case {
    const char* what;
    std::uint8_t source;
    std::uint8_t protocol;
    std::uint32_t key;  // 0: without
    // By Row; an inner packet that is none, so a tunnel's own is dropped as well, but counted as
    // arrived.
    const char* fates[4];
};

constexpr Case kCases[] = {
    {"another GRE tunnel's, without key", kOther, IPPROTO_GRE, 0, {"pass", "pass", "pass", "pass"}},
    {"another GRE tunnel's, with a key", kOther, IPPROTO_GRE, 7, {"pass", "pass", "pass", "pass"}},
    {"GRE of the DR without key", kPeer, IPPROTO_GRE, 0, {"drop", "pass", "drop", "drop"}},
    {"the tunnel's key from elsewhere",
     kOther,
     IPPROTO_GRE,
     kKey,
     {"drop", "pass", "drop", "drop"}},
    {"the tunnel's, in native GRE", kPeer, IPPROTO_GRE, kKey, {"ours", "drop", "ours", "ours"}},
    {"a stranger's on the tunnels' port", kOther, IPPROTO_UDP, 7, {"pass", "drop", "drop", "drop"}},
    {"the tunnel's, in GRE-in-UDP", kPeer, IPPROTO_UDP, kKey, {"drop", "ours", "ours", "ours"}},
};

Bytes packet(const Case& c) {
    Bytes gre{static_cast<std::uint8_t>(c.key != 0 ? 0x20 : 0), 0, 0x08, 0};
    if (c.key != 0)
        for (int shift = 24; shift >= 0; shift -= 8)
            gre.push_back(static_cast<std::uint8_t>(c.key >> shift));
    gre.insert(gre.end(), 24, 0);
    const auto udp_length = static_cast<std::uint8_t>(8 + gre.size());
    if (c.protocol == IPPROTO_UDP) {
        const Bytes udp{0xc3, 0x50, 4754 >> 8, 4754 & 0xff, 0, udp_length, 0, 0};
        gre.insert(gre.begin(), udp.begin(), udp.end());
    }
    Bytes ip{0x45, 0,          0, static_cast<std::uint8_t>(20 + gre.size()),
             0,    0,          0, 0,
             64,   c.protocol, 0, 0,
             192,  0,          2, c.source,
             192,  0,          2, 2};
    std::copy(gre.begin(), gre.end(), std::back_inserter(ip));
    return ip;
}

// The tunnel's own packet behind four bytes of IPv4 options, or behind an IPv6 extension header.
Bytes with_options(const Case& c) {
    const Bytes plain = packet(c);
    Bytes ip;
    for (std::size_t i = 0; i < plain.size(); ++i) {
        if (i == 20) ip.resize(24, 1);  // no-operations
        ip.push_back(plain[i]);
    }
    ip[0] = 0x46;
    ip[3] = static_cast<std::uint8_t>(ip.size());
    return ip;
}
Bytes with_extension(const Case& c, std::uint8_t header) {
    const Bytes four = packet(c);
    Bytes ip(48, 0);
    ip[0] = 0x60;
    ip[5] = static_cast<std::uint8_t>(8 + four.size() - 20);
    ip[6] = header;
    ip[7] = 64;
    ip[23] = c.source;
    ip[39] = 2;
    ip[40] = c.protocol;
    for (std::size_t i = 20; i < four.size(); ++i) ip.push_back(four[i]);
    return ip;
}

void fill(Row row, ur_site& site) {
    ur_tunnel t{};
    t.id = kKey;
    t.family = 4;
    t.udp = row == Row::GreUdp || row == Row::AutoInUdp;
    t.either = row == Row::AutoInUdp || row == Row::AutoInGre;
    t.keepalive = 1;
    t.local_port = t.remote_port = 4754;
    t.remote.word[0] = htonl(0xc0000201);
    t.local.word[0] = htonl(0xc0000202);
    site.tunnel[0].copy[0] = t;
    site.slots = 1;
}

std::uint64_t arrived(const urd_bpf& programs) {
    std::vector<ur_tunnel_counters> cpus(static_cast<std::size_t>(libbpf_num_possible_cpus()));
    const std::uint32_t slot = 0;
    std::uint64_t sum = 0;
    if (bpf_map__lookup_elem(programs.maps.tunnel_counters, &slot, sizeof slot, cpus.data(),
                             cpus.size() * sizeof cpus[0], 0) == 0)
        for (const auto& c : cpus) sum += c.rx_arrived;
    return sum;
}

const char* fate(const urd_bpf& programs, const Bytes& ip) {
    const std::uint64_t before = arrived(programs);
    std::uint32_t verdict = 0;
    __sk_buff left{};
    if (!dr::ur::test::run_program(programs.progs.urd_downlink, ip, &verdict, &left))
        return "not run";
    if (arrived(programs) != before) return "ours";
    return verdict == kPass ? "pass" : verdict == TC_ACT_SHOT ? "drop" : "neither";
}

}  // namespace

int main() {
    int end = 0;
    const auto programs = dr::ur::test::open_programs(&end);
    if (!programs) return end;
    auto& unloaded = *reinterpret_cast<ur_site*>(&programs->bss->site);
    fill(Row::Gre, unloaded);
    end = dr::ur::test::load_programs(programs.get());
    if (end != 0) return end;
    auto& site = *reinterpret_cast<ur_site*>(&programs->bss->site);
    unsigned wrong = 0;
    for (const Row row : {Row::Gre, Row::GreUdp, Row::AutoInUdp, Row::AutoInGre}) {
        const auto r = static_cast<unsigned>(row);
        fill(row, site);
        for (const Case& c : kCases) {
            const char* const got = fate(*programs, packet(c));
            if (std::strcmp(got, c.fates[r]) == 0) continue;
            ++wrong;
            std::printf("a line with %s, %s: %s, must be %s\n", kRows[r], c.what, got, c.fates[r]);
        }
        for (const Case& c : kCases) {
            if (std::strcmp(c.fates[r], "ours") != 0) continue;
            const auto must_drop = [&](const char* how, const Bytes& ip) {
                const char* const got = fate(*programs, ip);
                if (std::strcmp(got, "drop") == 0) return;
                ++wrong;
                std::printf("a line with %s, %s, %s: %s, must be drop\n", kRows[r], c.what, how,
                            got);
            };
            must_drop("behind IPv4 options", with_options(c));
            site.tunnel[0].copy[0].family = 6;
            site.tunnel[0].copy[0].remote = {{0, 0, 0, htonl(c.source)}};
            site.tunnel[0].copy[0].local = {{0, 0, 0, htonl(2)}};
            for (const std::uint8_t header : {IPPROTO_HOPOPTS, IPPROTO_ROUTING, IPPROTO_DSTOPTS})
                must_drop("behind an IPv6 extension header", with_extension(c, header));
            fill(row, site);
        }
    }
    return wrong == 0 ? 0 : 1;
}
