// The mirror against a real kernel: links, addresses, neighbours, and what routes lead through.
#include <chrono>
#include <cstring>
#include <thread>

#include "dataplane/ports/route_table.h"
#include "tests/unit/ports/netlink_rig.h"

using namespace dr::test;
using namespace std::chrono_literals;

TEST_CASE("addresses of all interfaces are local, networks of ports are connected") {
    if (!may_unshare()) return;
    CHECK(in_namespace([] {
              const Rig rig("d0");
              if (!rig.is("192.0.2.1", Kind::Local)) return 1;
              if (rig.lookup("192.0.2.1").index() != 3) return 2;
              if (!rig.is("2001:db8:ff::1", Kind::Local)) return 3;
              if (!rig.is("198.51.100.1", Kind::Local)) return 4;
              if (!rig.is("127.0.0.1", Kind::None)) return 5;
              if (!rig.is("192.0.2.77", Kind::Glean)) return 6;
              if (!rig.is("2001:db8:ff::77", Kind::Glean)) return 7;
              if (!rig.up) return 8;
              if (!run("ip addr add 192.0.2.9/32 dev lo")) return 9;
              if (!rig.becomes("192.0.2.9", Kind::Local)) return 10;
              if (!run("ip addr del 192.0.2.9/32 dev lo")) return 11;
              return rig.becomes("192.0.2.9", Kind::Glean) ? 0 : 12;
          }) == 0);
}

TEST_CASE("neighbours resolve next hops and take them back when they are gone") {
    if (!may_unshare()) return;
    CHECK(in_namespace([] {
              const Rig rig("d0");
              if (!run("ip neigh add 192.0.2.7 lladdr 02:00:00:00:00:07 dev d0")) return 1;
              if (!rig.becomes("192.0.2.7", Kind::NextHop)) return 2;
              const dr::NextHopRow& row = rig.next_hop("192.0.2.7");
              if (row.resolved == 0 || row.port != 3 || row.mtu != 1500) return 3;
              if (row.destination != dr::wire::Mac{2, 0, 0, 0, 0, 7}) return 4;
              if (row.source != dr::wire::Mac{2, 0, 0, 0, 0, 0xd0}) return 5;
              if (!run("ip link set d0 mtu 1400")) return 6;
              if (!rig.until([&] { return rig.next_hop("192.0.2.7").mtu == 1400; })) return 7;
              if (!run("ip neigh del 192.0.2.7 dev d0")) return 8;
              return rig.becomes("192.0.2.7", Kind::Glean) ? 0 : 9;
          }) == 0);
}

TEST_CASE("routes through the port are mirrored by best metric, with blackholes") {
    if (!may_unshare()) return;
    CHECK(in_namespace([] {
              if (!run("ip route add default via 192.0.2.7; ip -6 route add default via "
                       "2001:db8:ff::7; ip route add blackhole 10.1.0.0/16;"
                       "ip -6 route add unreachable 2001:db8:dead::/48;"
                       "ip route add prohibit 10.2.0.0/16"))
                  return 1;
              const Rig rig("d0");
              if (!rig.is("9.9.9.9", Kind::NextHop)) return 2;
              if (!rig.is("2001:db8:1::1", Kind::NextHop)) return 3;
              if (!rig.is("10.1.2.3", Kind::Blackhole)) return 4;
              if (!rig.is("2001:db8:dead::1", Kind::Blackhole)) return 5;
              if (rig.lookup("10.1.2.3") != dr::Target::discarding(dr::Discard::Silent)) return 14;
              if (rig.lookup("2001:db8:dead::1") !=
                  dr::Target::discarding(dr::Discard::Unreachable))
                  return 15;
              if (rig.lookup("10.2.0.1") != dr::Target::discarding(dr::Discard::Prohibited))
                  return 16;
              const dr::Target first = rig.lookup("9.9.9.9");
              if (!run("ip route add default via 192.0.2.8 metric 100")) return 6;
              if (!run("ip route add 10.9.0.0/16 via 192.0.2.8")) return 7;
              if (!rig.becomes("10.9.0.1", Kind::NextHop)) return 8;
              if (rig.lookup("9.9.9.9") != first) return 9;
              if (!run("ip route del default via 192.0.2.7")) return 10;
              const dr::Target second = rig.lookup("10.9.0.1");
              if (!rig.until([&] { return rig.lookup("9.9.9.9") == second; })) return 11;
              if (!run("ip route del 10.9.0.0/16")) return 12;
              return rig.becomes("10.9.0.1", Kind::NextHop) ? 0 : 13;
          }) == 0);
}

TEST_CASE("routes that the kernel drops without a word when a link goes down are gone") {
    if (!may_unshare()) return;
    CHECK(in_namespace([] {
              if (!run("ip route add 10.9.0.0/16 via 192.0.2.7")) return 1;
              const Rig rig("d0");
              if (!rig.is("10.9.0.1", Kind::NextHop)) return 2;
              if (!run("ip link set d0 down")) return 3;
              if (!rig.becomes("10.9.0.1", Kind::None)) return 4;
              return rig.until([&] { return !rig.up; }) ? 0 : 5;
          }) == 0);
}

TEST_CASE("of a multipath route one member stays when the other is taken away") {
    if (!may_unshare()) return;
    CHECK(in_namespace([] {
              if (!run("ip -6 route add 2001:db8:9::/48 nexthop via 2001:db8:ff::7 nexthop via "
                       "2001:db8:ff::8"))
                  return 1;
              const Rig rig("d0");
              if (!rig.is("2001:db8:9::1", Kind::NextHop)) return 2;
              if (!run("ip -6 route del 2001:db8:9::/48 via 2001:db8:ff::7")) return 3;
              // The listing that decides follows the notification.
              if (!run("ip addr add 192.0.2.9/32 dev lo")) return 4;
              if (!rig.becomes("192.0.2.9", Kind::Local)) return 5;
              if (!rig.until([&] { return rig.mirror->synced(); })) return 6;
              return rig.becomes("2001:db8:9::1", Kind::NextHop) ? 0 : 7;
          }) == 0);
}

TEST_CASE("the kernel is asked for a gateway that nobody has resolved") {
    if (!may_unshare()) return;
    CHECK(in_namespace([] {
              if (!run("ip route add 10.9.0.0/16 via 192.0.2.7")) return 1;
              const Rig rig("d0");
              if (!rig.is("10.9.0.1", Kind::NextHop)) return 2;
              const bool asked = rig.until(
                  [] { return run("ip neigh show 192.0.2.7 dev d0 | grep -q 192.0.2.7"); });
              return asked ? 0 : 3;
          }) == 0);
}

TEST_CASE("routes of a port are back when its carrier is") {
    if (!may_unshare()) return;
    CHECK(in_namespace([] {
              if (!run("ip route add default via 192.0.2.7;"
                       "ip -6 route add default via 2001:db8:ff::7"))
                  return 1;
              const Rig rig("d0");
              if (!rig.is("9.9.9.9", Kind::NextHop)) return 2;
              if (!run("ip link set p0 down")) return 3;
              if (!rig.becomes("9.9.9.9", Kind::None)) return 4;
              if (!run("ip link set p0 up")) return 5;
              if (!rig.becomes("9.9.9.9", Kind::NextHop)) return 6;
              if (!rig.becomes("192.0.2.77", Kind::Glean)) return 7;
              return rig.becomes("2001:db8:1::1", Kind::NextHop) ? 0 : 8;
          }) == 0);
}

TEST_CASE(
    "a gateway that the kernel forgets with the carrier is used again at once with it, and "
    "given up when it does not answer") {
    if (!may_unshare()) return;
    CHECK(in_namespace([] {
              const dr::wire::Mac mac{2, 0, 0, 0, 0, 7};
              if (!run("ip route add default via 192.0.2.7;"
                       "ip neigh replace 192.0.2.7 lladdr 02:00:00:00:00:07 nud reachable dev d0"))
                  return 1;
              const Rig rig("d0");
              const auto resolved = [&] { return rig.next_hop("9.9.9.9").resolved != 0; };
              if (!rig.until(resolved)) return 2;
              if (!run("ip link set p0 down")) return 3;
              if (!rig.becomes("9.9.9.9", Kind::None)) return 4;
              if (!run("ip link set p0 up")) return 5;
              if (!rig.becomes("9.9.9.9", Kind::NextHop)) return 6;
              // The route comes by a listing, in which the kernel has no answer yet; and again.
              if (!rig.until(resolved)) return 7;
              if (std::memcmp(rig.next_hop("9.9.9.9").destination.data(), mac.data(), 6) != 0)
                  return 8;
              if (!run("ip addr add 192.0.2.9/32 dev lo")) return 9;
              if (!rig.until([&] { return rig.mirror->synced(); }) || !resolved()) return 10;
              // Nobody has it now. What the kernel says counts.
              if (!rig.until([&] { return !resolved(); })) return 11;
              if (!run("ip neigh replace 192.0.2.7 lladdr 02:00:00:00:00:08 nud reachable dev d0"))
                  return 12;
              return rig.until(resolved) ? 0 : 13;
          }) == 0);
}

// A second interface, no port, in the networks of the port, with routes of the same metric.
constexpr const char* kSecondInterface =
    "set -e; ip link add m0 type veth peer name m1; ip link set m0 up; ip link set m1 up;"
    "ip addr add 192.0.2.5/24 dev m0; ip addr add 2001:db8:ff::5/64 dev m0 nodad;"
    "ip route append 10.9.0.0/16 via 192.0.2.6 dev m0";

TEST_CASE("routes through other interfaces leave the port's of the same prefix alone") {
    if (!may_unshare()) return;
    const auto holds = [](const Rig& rig) {
        return rig.is("192.0.2.77", Kind::Glean) && rig.is("2001:db8:ff::77", Kind::Glean) &&
               rig.is("10.9.0.1", Kind::NextHop);
    };
    CHECK(in_namespace([&] {
              if (!run("ip route add 10.9.0.0/16 via 192.0.2.7 dev d0")) return 1;
              const Rig rig("d0");
              if (!holds(rig)) return 2;
              if (!run(kSecondInterface)) return 3;
              if (!run("ip addr add 192.0.2.20/32 dev lo")) return 4;
              if (!rig.becomes("192.0.2.20", Kind::Local)) return 5;
              if (!holds(rig)) return 6;
              const Rig later("d0");
              if (!holds(later)) return 7;
              if (!run("ip route del 10.9.0.0/16 dev m0; ip link del m0")) return 8;
              if (!run("ip addr add 192.0.2.21/32 dev lo")) return 9;
              if (!rig.becomes("192.0.2.21", Kind::Local)) return 10;
              if (!rig.until([&] { return rig.mirror->synced(); })) return 11;
              if (!holds(rig)) return 12;
              if (!run("ip route del 10.9.0.0/16")) return 13;
              return rig.becomes("10.9.0.1", Kind::None) ? 0 : 14;
          }) == 0);
}

TEST_CASE("a route that is replaced by one through another interface leads there") {
    if (!may_unshare()) return;
    CHECK(in_namespace([] {
              if (!run("ip route add 10.9.0.0/16 via 192.0.2.7")) return 1;
              const Rig rig("d0");
              if (!rig.is("10.9.0.1", Kind::NextHop)) return 2;
              if (!run("ip route replace 10.9.0.0/16 dev lo")) return 3;
              return rig.becomes("10.9.0.1", Kind::Elsewhere) ? 0 : 4;
          }) == 0);
}

TEST_CASE("an IPv6 multipath route replaces a plain one") {
    if (!may_unshare()) return;
    CHECK(in_namespace([] {
              if (!run("for i in 7 8 9; do ip -6 neigh add 2001:db8:ff::$i lladdr "
                       "02:00:00:00:00:0$i dev d0; done;"
                       "ip -6 route add 2001:db8:9::/48 via 2001:db8:ff::7"))
                  return 1;
              const Rig rig("d0");
              const auto last = [&] { return rig.next_hop("2001:db8:9::1").destination[5]; };
              if (!rig.is("2001:db8:9::1", Kind::NextHop) || last() != 7) return 2;
              if (!run("ip -6 route replace 2001:db8:9::/48 nexthop via 2001:db8:ff::8 nexthop "
                       "via 2001:db8:ff::9"))
                  return 3;
              return rig.until([&] { return last() == 8 || last() == 9; }) ? 0 : 4;
          }) == 0);
}

TEST_CASE("a link that goes down during a listing takes its routes along") {
    if (!may_unshare()) return;
    CHECK(in_namespace([] {
              // The port's route is listed first, and the rest takes longer than the link.
              if (!run("ip route add 9.0.0.0/8 via 192.0.2.7;"
                       "for a in $(seq 0 255); do for b in $(seq 0 249); do "
                       "echo route add 10.1.$a.$b/32 dev lo; done; done | ip -batch -"))
                  return 1;
              const Rig rig("d0", 65'535, false);
              bool down = false;
              std::thread watcher([&] {
                  const auto deadline = std::chrono::steady_clock::now() + 5s;
                  while (!rig.is("9.9.9.9", Kind::NextHop))
                      if (std::chrono::steady_clock::now() > deadline) return;
                  down = run("ip link set p0 down");
              });
              rig.until([&] { return rig.mirror->synced(); });
              watcher.join();
              if (!down) return 2;
              return rig.becomes("9.9.9.9", Kind::None) ? 0 : 3;
          }) == 0);
}

TEST_CASE("a port's MTU is the interface's, but no more than the port can take") {
    if (!may_unshare()) return;
    CHECK(in_namespace([] {
              if (!run("ip neigh add 192.0.2.7 lladdr 02:00:00:00:00:07 dev d0")) return 1;
              const Rig rig("d0", 1400);
              const auto becomes = [&](unsigned mtu) {
                  return rig.until([&] { return rig.next_hop("192.0.2.7").mtu == mtu; });
              };
              if (rig.next_hop("192.0.2.7").mtu != 1400) return 2;
              if (!run("ip link set d0 mtu 1300")) return 3;
              if (!becomes(1300)) return 4;
              if (!run("ip link set d0 mtu 9000")) return 5;
              if (!becomes(1400)) return 6;
              if (!run("ip link set d0 mtu 1000")) return 7;
              return becomes(1280) ? 0 : 8;
          }) == 0);
}

TEST_CASE("a connected network that moves to another port leaves no next hops behind") {
    std::string error;
    const auto tables = dr::Tables::create(small(), &error);
    dr::Rib rib(*tables);
    dr::RouteTable routes(rib);
    using Target = dr::RouteTarget;
    const dr::IpPrefix prefix{{4, {10}}, 8};
    const dr::IpAddress address{4, {10, 0, 0, 9}};
    routes.set(prefix, 0, {Target::Kind::Connected, 1, {}}, dr::RouteTable::How::Replace);
    CHECK(rib.resolve(address).value != 0);
    routes.set(prefix, 0, {Target::Kind::Connected, 2, {}}, dr::RouteTable::How::Replace);
    unsigned unresolved = 0;
    rib.for_each_unresolved([&](std::uint16_t, const dr::IpAddress&, bool) { ++unresolved; });
    CHECK(unresolved == 0);
    const auto found = tables->lpm4->lookup(prefix.address.bytes.data());
    CHECK(found.kind() == Kind::Glean);
    CHECK(found.index() == 2);
    CHECK(routes.remove(prefix, 0, {Target::Kind::Connected, 2, {}}));
    CHECK(tables->lpm4->lookup(prefix.address.bytes.data()).kind() == Kind::None);
}

TEST_CASE("of several routes to one prefix the lowest metric is installed") {
    std::string error;
    const auto tables = dr::Tables::create(small(), &error);
    dr::Rib rib(*tables);
    dr::RouteTable routes(rib);
    using Target = dr::RouteTarget;
    const dr::IpPrefix prefix{{4, {10}}, 8};
    const auto kind = [&] { return tables->lpm4->lookup(prefix.address.bytes.data()).kind(); };
    using How = dr::RouteTable::How;
    routes.set(prefix, 20, {Target::Kind::Connected, 1, {}}, How::Replace);
    CHECK(kind() == Kind::Glean);
    routes.set(prefix, 10, {Target::Kind::Blackhole, 0, {}}, How::Replace);
    CHECK(kind() == Kind::Blackhole);
    CHECK(routes.remove(prefix, 10, {Target::Kind::Blackhole, 0, {}}));
    CHECK(kind() == Kind::Glean);
    routes.set(prefix, 20, {Target::Kind::Gateway, 1, {4, {192, 0, 2, 7}}}, How::Append);
    CHECK(kind() == Kind::Glean);
    CHECK_FALSE(routes.remove(prefix, 20, {Target::Kind::Connected, 1, {}}));
    CHECK(kind() == Kind::None);
    CHECK(routes.size() == 0);

    routes.set(prefix, 5, {Target::Kind::Blackhole, 0, {}}, How::Dump);
    routes.mark();
    routes.sweep();
    CHECK(kind() == Kind::None);
}
