// What the guard on a line lets through outside the tunnels: made packets through the eBPF programs
// (BPF_PROG_TEST_RUN).
// Exit 0: all as they must be; 1: not; 77: cannot run here (meson's code for skipped).
#include <arpa/inet.h>
#include <linux/pkt_cls.h>
#include <netinet/in.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <utility>
#include <vector>

#include "tests/unit/ur/urd_program.h"
#include "ur/bpf/shared.h"

namespace {

using Bytes = std::vector<std::uint8_t>;

constexpr std::uint32_t kPass = static_cast<std::uint32_t>(TC_ACT_UNSPEC);
constexpr std::uint32_t kLineA = 11, kLineB = 12, kLan = 20;
constexpr const char* kSite = "203.0.113.10";
constexpr const char* kSite6 = "2001:db8:5000:100::10";
constexpr const char* kLine = "198.18.1.2";
constexpr const char* kLine6 = "2001:db8:b:1::2";
constexpr const char* kOther = "192.0.2.2";
constexpr const char* kOther6 = "2001:db8:f::2";
// Inside the site's prefixes, and needed by a line all the same.
constexpr const char* kNeeded = "203.0.113.14";
constexpr const char* kNeeded6 = "2001:db8:5000:199::2";
constexpr int kPassed = -1;

Bytes packet(const char* source, const char* destination, std::uint8_t protocol,
             const Bytes& payload) {
    const int family = std::strchr(source, ':') != nullptr ? AF_INET6 : AF_INET;
    const bool v6 = family == AF_INET6;
    Bytes out(v6 ? 40 : 20);
    out[0] = v6 ? 0x60 : 0x45;
    const std::size_t length = payload.size() + (v6 ? 0 : 20);
    out[v6 ? 4 : 2] = static_cast<std::uint8_t>(length >> 8);
    out[v6 ? 5 : 3] = static_cast<std::uint8_t>(length);
    out[v6 ? 6 : 9] = protocol;
    out[v6 ? 7 : 8] = 64;
    inet_pton(family, source, out.data() + (v6 ? 8 : 12));
    inet_pton(family, destination, out.data() + (v6 ? 24 : 16));
    out.insert(out.end(), payload.begin(), payload.end());
    return out;
}

Bytes udp(const char* source, const char* destination) {
    return packet(source, destination, IPPROTO_UDP, Bytes(16, 0x11));
}

// An ICMP message of this type that quotes, or has as its target, what is behind its 8 bytes.
Bytes icmp(const char* source, const char* destination, std::uint8_t type, const Bytes& behind) {
    const bool v6 = std::strchr(source, ':') != nullptr;
    Bytes payload{type, 0, 0, 0, 0, 0, 0, 0};
    payload.insert(payload.end(), behind.begin(), behind.end());
    const std::uint8_t protocol = v6 ? std::uint8_t{IPPROTO_ICMPV6} : std::uint8_t{IPPROTO_ICMP};
    return packet(source, destination, protocol, payload);
}

Bytes address6(const char* text) {
    Bytes out(16);
    inet_pton(AF_INET6, text, out.data());
    return out;
}

// The same packet with an IPv6 extension header in front of what it carries.
Bytes behind(Bytes p, std::uint8_t header, const Bytes& bytes) {
    Bytes extension = bytes;
    extension[0] = std::exchange(p[6], header);
    p[5] = static_cast<std::uint8_t>(p[5] + bytes.size());
    p.insert(p.begin() + 40, extension.begin(), extension.end());
    return p;
}

const Bytes kOptions{0, 0, 1, 4, 0, 0, 0, 0};  // padding
Bytes behind_options(Bytes p, unsigned headers) {
    for (unsigned i = 0; i < headers; ++i) p = behind(std::move(p), IPPROTO_DSTOPTS, kOptions);
    return p;
}

// A router advertisement of these options.
Bytes advertisement(const Bytes& options) {
    Bytes rest(8);
    rest.insert(rest.end(), options.begin(), options.end());
    return icmp("fe80::1", "ff02::1", 134, rest);
}

Bytes with_address(Bytes head, const char* address, std::size_t bytes = 16) {
    const Bytes whole = address6(address);
    head.insert(head.end(), whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(bytes));
    return head;
}

Bytes joined(const Bytes& a, const Bytes& b) {
    Bytes out = a;
    out.insert(out.end(), b.begin(), b.end());
    return out;
}

Bytes prefix_option(const char* prefix) {
    return with_address({3, 4, 64, 0x40, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0}, prefix);
}

struct Case {
    const char* what;
    Bytes packet;
    std::uint32_t from;  // ifindex on which it came in; 0: of this machine
    int in;              // what an ingress of a line does with it: a counter, or kPassed
    int out;             // an egress
    int out_breakout;    // with --local-breakout
};

std::vector<Case> cases() {
    const auto fragment = [](Bytes p, std::uint8_t high, std::uint8_t low) {
        p[6] = high;
        p[7] = low;
        return p;
    };
    const auto fragment6 = [](const Bytes& p, std::uint8_t low) {
        return behind(p, IPPROTO_FRAGMENT, {0, 0, 0, low, 0, 0, 0, 9});
    };
    constexpr std::uint8_t kFirst = 1, kLater = 9, kAtomic = 0;
    const Bytes mtu_option{5, 1, 0, 0, 0, 0, 5, 0xdc};
    Bytes many;
    for (int i = 0; i < 32; ++i) many = joined(many, mtu_option);
    const auto redirect = [](const char* target, const char* to) {
        return icmp("fe80::1", kLine6, 137, joined(address6(target), address6(to)));
    };
    const Bytes about = udp(kOther, kSite), about6 = udp(kOther6, kSite6);
    constexpr int kIn = UrDropLineIn, kOut = UrDropLineOut, kIcmp = UrDropLineIcmp;
    constexpr int kHidden = UrDropLineHidden;
    const Bytes error = icmp(kOther, kLine, 3, about), error6 = icmp(kOther6, kLine6, 2, about6);
    const Bytes echo6 = icmp(kOther6, kLine6, 128, about6);
    constexpr int kTransit = UrDropLineTransit, kBreakout = UrDropBreakout;
    return {
        {"the router's own", udp(kLine, kOther), 0, kPassed, kPassed, kPassed},
        {"the router's own, IPv6", udp(kLine6, kOther6), 0, kPassed, kPassed, kPassed},
        {"from the site", udp(kSite, kOther), 0, kIn, kOut, kOut},
        {"from the site, forwarded", udp(kSite, kOther), kLan, kIn, kOut, kOut},
        {"from the site, IPv6", udp(kSite6, kOther6), kLan, kIn, kOut, kOut},
        {"to the site", udp(kOther, kSite), kLan, kIn, kOut, kOut},
        {"to the site, IPv6", udp(kOther6, kSite6), kLan, kIn, kOut, kOut},
        {"a first fragment", fragment(udp(kOther, kSite), 0x20, 0), 0, kIn, kOut, kOut},
        {"a later fragment", fragment(udp(kOther, kSite), 0, 8), 0, kIn, kOut, kOut},
        {"from beside the prefix", udp("203.0.113.16", kOther), 0, kPassed, kPassed, kPassed},
        {"of a LAN host that is not the site's", udp("10.7.7.7", kOther), kLan, kPassed, kBreakout,
         kPassed},
        {"of such a host, IPv6", udp("fd00::7", kOther6), kLan, kPassed, kBreakout, kPassed},
        {"from line to line", udp(kOther, "198.18.65.1"), kLineA, kPassed, kTransit, kTransit},
        {"back over the same line", udp(kOther, kOther), kLineB, kPassed, kTransit, kTransit},
        {"from line to line, IPv6", udp(kOther6, kLine6), kLineA, kPassed, kTransit, kTransit},
        {"unreachable, about the site's", icmp(kLine, kOther, 3, about), 0, kIn, kIcmp, kIcmp},
        {"expired, about the site's", icmp(kLine, kOther, 11, about), 0, kIn, kIcmp, kIcmp},
        {"expired, about the site's, IPv6", icmp(kLine6, kOther6, 3, about6), 0, kIn, kIcmp, kIcmp},
        {"unreachable, about another's", icmp(kLine, kOther, 3, udp(kOther, kLine)), 0, kPassed,
         kPassed, kPassed},
        {"an echo that holds a packet of the site", icmp(kLine, kOther, 8, about), 0, kPassed,
         kPassed, kPassed},
        {"a question for a neighbour of the site", icmp(kLine6, kOther6, 135, address6(kSite6)), 0,
         kIn, kOut, kOut},
        {"a question for another neighbour", icmp(kLine6, kOther6, 135, address6(kOther6)), 0,
         kPassed, kPassed, kPassed},
        {"an error in fragments, the first", fragment(error, 0x20, 0), 0, kHidden, kPassed,
         kPassed},
        {"an error in fragments, a later one", fragment(error, 0, 8), 0, kPassed, kPassed, kPassed},
        {"an echo in fragments, the first", fragment(icmp(kOther, kLine, 8, about), 0x20, 0), 0,
         kPassed, kPassed, kPassed},
        {"UDP in fragments", fragment(udp(kOther, kLine), 0x20, 0), 0, kPassed, kPassed, kPassed},
        {"an error in fragments, the first, IPv6", fragment6(error6, kFirst), 0, kHidden, kPassed,
         kPassed},
        {"an error in one fragment, IPv6", fragment6(error6, kAtomic), 0, kHidden, kPassed,
         kPassed},
        {"an error in fragments, a later one, IPv6", fragment6(error6, kLater), 0, kPassed, kPassed,
         kPassed},
        {"an echo in fragments, the first, IPv6", fragment6(echo6, kFirst), 0, kPassed, kPassed,
         kPassed},
        {"options behind a fragment header", fragment6(behind_options(error6, 1), kFirst), 0,
         kHidden, kPassed, kPassed},
        {"a fragment of a question for a neighbour",
         fragment6(icmp(kOther6, kLine6, 135, address6(kOther6)), kFirst), 0, kHidden, kPassed,
         kPassed},
        {"an error behind 8 headers", behind_options(error6, 8), 0, kIn, kIcmp, kIcmp},
        {"an error behind 9 headers", behind_options(error6, 9), 0, kHidden, kPassed, kPassed},
        {"a redirect of the site", redirect(kOther6, kSite6), 0, kIn, kOut, kOut},
        {"a redirect to the site", redirect(kSite6, kOther6), 0, kIn, kOut, kOut},
        {"a redirect of another", redirect(kOther6, kOther6), 0, kPassed, kPassed, kPassed},
        {"an advertisement of the site's prefix", advertisement(prefix_option(kSite6)), 0, kIn,
         kOut, kOut},
        {"one behind another's",
         advertisement(joined(joined(mtu_option, prefix_option(kOther6)), prefix_option(kSite6))),
         0, kIn, kOut, kOut},
        {"a route to it", advertisement(with_address({24, 3, 64, 0, 0, 0, 0, 9}, kSite6)), 0, kIn,
         kOut, kOut},
        {"a route to it, short", advertisement(with_address({24, 2, 56, 0, 0, 0, 0, 9}, kSite6, 8)),
         0, kIn, kOut, kOut},
        {"an advertisement of another prefix", advertisement(prefix_option(kOther6)), 0, kPassed,
         kPassed, kPassed},
        {"an advertisement of 31 options", advertisement(Bytes(many.begin(), many.end() - 8)), 0,
         kPassed, kPassed, kPassed},
        {"an advertisement of more options than are read",
         advertisement(joined(many, prefix_option(kSite6))), 0, kHidden, kPassed, kPassed},
        {"from an address that a line needs", udp(kNeeded, kOther), 0, kPassed, kPassed, kPassed},
        {"to it, from the site", udp(kSite, kNeeded), 0, kIn, kOut, kOut},
        {"from an address that a line needs, IPv6", udp(kNeeded6, kOther6), 0, kPassed, kPassed,
         kPassed},
        {"DHCP", udp("0.0.0.0", "255.255.255.255"), 0, kPassed, kPassed, kPassed},
    };
}

void fill(ur_site& site) {
    auto& rules = site.rules[0];
    const auto put = [](ur_prefix& prefix, int family, const char* address, const char* mask) {
        inet_pton(family, address, prefix.address.word);
        inet_pton(family, mask, prefix.mask.word);
    };
    put(rules.prefix4[rules.prefixes4++], AF_INET, "100.64.0.0", "255.255.0.0");
    put(rules.prefix4[rules.prefixes4++], AF_INET, "203.0.113.8", "255.255.255.248");
    put(rules.prefix6[rules.prefixes6++], AF_INET6, "2001:db8:5000:100::", "ffff:ffff:ffff:ff00::");
    inet_pton(AF_INET, kNeeded, &rules.need4[rules.needed4++]);
    inet_pton(AF_INET6, kNeeded6, rules.need6[rules.needed6++].word);
    site.line[0] = kLineA;
    site.line[UR_LINES - 1] = kLineB;
}

std::vector<std::uint64_t> counters(const urd_bpf& programs) {
    std::vector<std::uint64_t> totals(UrCounters);
    std::vector<std::uint64_t> cpus(static_cast<std::size_t>(libbpf_num_possible_cpus()));
    for (std::uint32_t c = 0; c < UrCounters; ++c)
        if (bpf_map__lookup_elem(programs.maps.counters, &c, sizeof c, cpus.data(),
                                 cpus.size() * sizeof cpus[0], 0) == 0)
            for (const auto n : cpus) totals[c] += n;
    return totals;
}

// 0, or 1 when the program does not do `wanted`.
unsigned check(const urd_bpf& programs, const bpf_program* program, const char* where,
               const Case& c, int wanted) {
    const auto before = counters(programs);
    std::uint32_t verdict = 0;
    __sk_buff left{}, in{};
    in.ingress_ifindex = c.from;
    const bool run = dr::ur::test::run_program(program, c.packet, &verdict, &left, in);
    auto expected = before;
    if (wanted != kPassed) ++expected[static_cast<std::size_t>(wanted)];
    const std::uint32_t end = wanted == kPassed ? kPass : TC_ACT_SHOT;
    const auto now = counters(programs);
    if (run && verdict == end && now == expected) return 0;
    std::printf("%s, %s: verdict %d, must be %d", c.what, where, static_cast<int>(verdict),
                static_cast<int>(end));
    for (std::size_t i = 0; i < now.size(); ++i)
        if (now[i] != expected[i]) std::printf("; counter %zu", i);
    std::printf("\n");
    return 1;
}

}  // namespace

int main() {
    int end = 0;
    // Without routes: what is plain and not the site's is forwarded nowhere.
    if (geteuid() == 0 && unshare(CLONE_NEWNET) != 0) {
        std::printf("skip: no network namespace can be made here\n");
        return dr::ur::test::kSkipped;
    }
    const auto programs = dr::ur::test::open_programs(&end);
    if (!programs) return end;
    fill(*reinterpret_cast<ur_site*>(&programs->bss->site));
    end = dr::ur::test::load_programs(programs.get());
    if (end != 0) return end;
    auto& site = *reinterpret_cast<ur_site*>(&programs->bss->site);
    unsigned wrong = 0;
    for (const Case& c : cases()) {
        site.breakout = 0;
        wrong += check(*programs, programs->progs.urd_downlink, "in", c, c.in);
        wrong += check(*programs, programs->progs.urd_below, "in below", c, c.in);
        wrong += check(*programs, programs->progs.urd_line_out, "out", c, c.out);
        site.breakout = 1;
        wrong += check(*programs, programs->progs.urd_line_out, "out, --local-breakout", c,
                       c.out_breakout);
    }
    return wrong == 0 ? 0 : 1;
}
