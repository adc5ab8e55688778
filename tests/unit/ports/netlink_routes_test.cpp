// The mirror against a real kernel: routes that lead nowhere, elsewhere, or through several next
// hops; and more of them than there is room for.
#include "tests/unit/ports/netlink_rig.h"

using namespace dr::test;

namespace {

constexpr const char* kNeighbours =
    "for i in 7 8 9; do for a in 192.0.2.$i 2001:db8:ff::$i; do "
    "ip neigh replace $a lladdr 02:00:00:00:00:0$i dev d0 nud permanent; done; done";

// The last octet of the MAC address that packets for this one go to; 0: of none.
unsigned mac_of(const Rig& rig, const char* address) {
    return rig.is(address, Kind::NextHop) ? rig.next_hop(address).destination[5] : 0;
}
bool goes_to(const Rig& rig, const char* address, unsigned mac) {
    return rig.until([&] { return mac_of(rig, address) == mac; });
}

}  // namespace

TEST_CASE("a route over an interface that is no port is never passed over for another one") {
    if (!may_unshare()) return;
    CHECK(in_namespace([] {
              if (!run(kNeighbours) ||
                  !run("ip route add default via 192.0.2.7; ip -6 route add default via "
                       "2001:db8:ff::7; ip link add m0 type veth peer name m1;"
                       "ip addr add 10.1.0.1/24 dev m0; ip link set m0 up; ip link set m1 up"))
                  return 1;
              const Rig rig("d0");
              if (!rig.becomes("10.1.0.9", Kind::Elsewhere)) return 2;
              if (!goes_to(rig, "9.9.9.9", 7)) return 3;
              if (!run("ip route add 10.2.0.0/16 via 10.1.0.2")) return 4;
              if (!rig.becomes("10.2.0.1", Kind::Elsewhere)) return 5;
              if (!run("ip -6 route add 2001:db8:77::/48 dev m0")) return 6;
              if (!rig.becomes("2001:db8:77::1", Kind::Elsewhere)) return 7;
              if (rig.rib->resolve({4, {10, 2, 0, 1}}).value != 0) return 8;
              // The kernel uses an interface without carrier; the next best when it is down.
              if (!run("ip link set m1 down; ip route add 10.3.0.0/16 via 10.1.0.2")) return 12;
              if (!rig.becomes("10.3.0.1", Kind::Elsewhere)) return 13;
              if (!rig.is("10.2.0.1", Kind::Elsewhere)) return 14;
              if (!run("ip link set m0 down")) return 9;
              if (!goes_to(rig, "10.2.0.1", 7)) return 10;
              return rig.becomes("2001:db8:77::1", Kind::NextHop) ? 0 : 11;
          }) == 0);
}

TEST_CASE("a multipath route leads to the first next hop whose MAC address is known") {
    if (!may_unshare()) return;
    for (const std::string ip : {"ip", "ip -6"}) {
        CAPTURE(ip);
        const bool v4 = ip == "ip";
        const std::string net = v4 ? "192.0.2." : "2001:db8:ff::";
        const std::string prefix = v4 ? "10.9.0.0/16" : "2001:db8:9::/48";
        const char* far = v4 ? "10.9.0.1" : "2001:db8:9::1";
        CHECK(in_namespace([&] {
                  if (!run(kNeighbours)) return 1;
                  if (!run((ip + " route add " + prefix + " nexthop via " + net +
                            "77 nexthop via " + net + "8 nexthop via " + net + "9")
                               .c_str()))
                      return 2;
                  const Rig rig("d0");
                  if (!goes_to(rig, far, 8)) return 3;
                  if (!run((ip + " neigh replace " + net +
                            "77 lladdr 02:00:00:00:00:4d dev d0 nud permanent")
                               .c_str()))
                      return 4;
                  if (!goes_to(rig, far, 0x4d)) return 5;
                  if (!run((ip + " neigh del " + net + "77 dev d0").c_str())) return 6;
                  if (!goes_to(rig, far, 8)) return 7;
                  if (!run((ip + " neigh del " + net + "8 dev d0").c_str())) return 8;
                  if (!goes_to(rig, far, 9)) return 9;
                  if (!run((ip + " route del " + prefix).c_str())) return 10;
                  return rig.becomes(far, Kind::None) ? 0 : 11;
              }) == 0);
    }
}

TEST_CASE("next hops of an IPv6 route that are added one by one take each other's place") {
    if (!may_unshare()) return;
    CHECK(in_namespace([] {
              if (!run(kNeighbours) || !run("ip -6 route add 2001:db8:9::/48 via 2001:db8:ff::77"))
                  return 1;
              const Rig rig("d0");
              if (!rig.becomes("2001:db8:9::1", Kind::NextHop)) return 2;
              if (mac_of(rig, "2001:db8:9::1") != 0) return 3;
              if (!run("ip -6 route append 2001:db8:9::/48 via 2001:db8:ff::8")) return 4;
              return goes_to(rig, "2001:db8:9::1", 8) ? 0 : 5;
          }) == 0);
}

TEST_CASE("routes by next hop objects are followed, whatever the kernel tells of the hops") {
    if (!may_unshare()) return;
    for (const char* compat : {"1", "0"}) {
        CAPTURE(compat);
        CHECK(in_namespace([&] {
                  if (!run(kNeighbours) ||
                      !run((std::string("sysctl -qw net.ipv4.nexthop_compat_mode=") + compat)
                               .c_str()) ||
                      !run("ip route add default via 192.0.2.9;"
                           "ip nexthop add id 1 via 192.0.2.7 dev d0;"
                           "ip nexthop add id 2 via 192.0.2.8 dev d0;"
                           "ip nexthop add id 6 via 2001:db8:ff::7 dev d0;"
                           "ip nexthop add id 10 group 1/2; ip nexthop add id 20 blackhole;"
                           "ip route add 10.9.0.0/16 nhid 10; ip route add 10.8.0.0/16 nhid 1;"
                           "ip route add 10.7.0.0/16 nhid 20;"
                           "ip -6 route add 2001:db8:9::/48 nhid 6"))
                      return 1;
                  const Rig rig("d0");
                  if (!goes_to(rig, "10.9.0.1", 7) || !goes_to(rig, "10.8.0.1", 7)) return 2;
                  if (!goes_to(rig, "2001:db8:9::1", 7)) return 3;
                  if (!rig.becomes("10.7.0.1", Kind::Blackhole)) return 4;
                  if (!run("ip nexthop replace id 6 via 2001:db8:ff::8 dev d0")) return 5;
                  if (!goes_to(rig, "2001:db8:9::1", 8)) return 6;
                  // The member's own route goes with it, and the group has one less.
                  if (!run("ip nexthop del id 1")) return 7;
                  if (!goes_to(rig, "10.9.0.1", 8)) return 8;
                  if (!goes_to(rig, "10.8.0.1", 9)) return 9;
                  if (!run("ip route add 10.6.0.0/16 nhid 2")) return 10;
                  if (!goes_to(rig, "10.6.0.1", 8)) return 11;
                  if (!run("ip nexthop del id 10")) return 12;
                  return goes_to(rig, "10.9.0.1", 9) ? 0 : 13;
              }) == 0);
    }
}

TEST_CASE("a route that finds no room waits, is counted once, and comes in when there is room") {
    if (!may_unshare()) return;
    CHECK(in_namespace([] {
              if (!run(kNeighbours)) return 1;
              dr::Capacity few = small();
              few.prefixes4 = 64;
              few.groups4 = 64;
              const Rig rig("d0", 65'535, true, few);
              if (!run("ip route add default via 192.0.2.9; for a in $(seq 0 99); do "
                       "echo route add 10.9.$a.0/24 via 192.0.2.7; done | ip -batch -"))
                  return 2;
              if (!rig.until([&] { return rig.mirror->waiting_routes() > 20; })) return 3;
              if (!run("ip addr add 198.51.100.9/32 dev lo")) return 4;
              if (!rig.until([&] { return rig.mirror->synced(); })) return 5;
              const std::size_t waiting = rig.mirror->waiting_routes();
              if (rig.mirror->refused_routes() < waiting) return 6;
              if (!run("for a in $(seq 0 79); do echo route del 10.9.$a.0/24; done | ip -batch -"))
                  return 7;
              if (!rig.until([&] { return rig.mirror->waiting_routes() == 0; })) return 8;
              for (int a = 80; a < 100; ++a) {
                  const std::string address = "10.9." + std::to_string(a) + ".1";
                  if (!goes_to(rig, address.c_str(), 7)) return 100 + a;
              }
              return 0;
          }) == 0);
}

TEST_CASE("router advertisements are switched off on a port's interface, and on one made again") {
    if (!may_unshare()) return;
    CHECK(in_namespace([] {
              const auto off = [] {
                  return run("test $(cat /proc/sys/net/ipv6/conf/d0/accept_ra) = 0");
              };
              if (off()) return 1;  // this would prove nothing
              const Rig rig("d0");
              if (!off()) return 2;
              if (run("test $(cat /proc/sys/net/ipv6/conf/p0/accept_ra) = 0")) return 3;
              if (!run("ip link del d0 && ip link add d0 type veth peer name p0")) return 4;
              return rig.until(off) ? 0 : 5;
          }) == 0);
}

TEST_CASE("what a router advertisement has made is not mirrored, an address with a lifetime is") {
    if (!may_unshare()) return;
    CHECK(in_namespace([] {
              // As the kernel, and as a daemon of the user's, make them.
              if (!run("ip -6 route add 2001:db8:5:1::/64 dev d0 proto kernel expires 300;"
                       "ip -6 route add 2001:db8:5:2::/64 dev d0 proto ra;"
                       "ip -6 route add default via 2001:db8:ff::7 proto ra expires 300"))
                  return 1;
              const Rig rig("d0");
              if (!rig.is("2001:db8:5:1::9", Kind::None)) return 2;
              if (!rig.is("2001:db8:5:2::9", Kind::None)) return 3;
              if (!rig.is("2001:db8:77::9", Kind::None)) return 4;
              if (!run("ip -6 route add 2001:db8:5:3::/64 dev d0 proto kernel expires 300;"
                       "ip -6 route add 2001:db8:5:4::/64 dev d0 proto static expires 300"))
                  return 5;
              if (!rig.becomes("2001:db8:5:4::9", Kind::Glean)) return 6;
              if (!rig.is("2001:db8:5:3::9", Kind::None)) return 7;
              // A configured address with a lifetime, whose route the kernel makes first.
              if (!run("ip addr add 2001:db8:5:5::1/64 dev d0 valid_lft 300 preferred_lft 300 "
                       "nodad"))
                  return 8;
              if (!rig.becomes("2001:db8:5:5::9", Kind::Glean)) return 9;
              if (!rig.is("2001:db8:5:3::9", Kind::None)) return 10;
              if (!run("ip -6 route del 2001:db8:5:3::/64 dev d0; ip -6 route del default"))
                  return 11;
              return rig.becomes("2001:db8:5:4::9", Kind::Glean) ? 0 : 12;
          }) == 0);
}
