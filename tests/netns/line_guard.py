#!/usr/bin/python3
"""The guard on a UR's lines: what is the site's goes through tunnels alone, and lines are no way through."""

import sys
from contextlib import contextmanager
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))


from lablib import topology as t
from lablib import ur
from lablib.cases import Cases, expect
from lablib.guard import (counter, dropped, nothing_in_clear, onto_line, outside, ports,
                          udp, unseen)
from lablib.lab import Lab, temporary_lab
from lablib.packets import Capture
from lablib.probe import four_probes, lost_nothing
from lablib.shell import wait_until

cases = Cases()
LAN, INTERNET = ("lan1", "eth0"), ("inet", "eth0")


@contextmanager
def guarded_lab():
    with temporary_lab(signalled={"wait_to_restore": 5}) as lab:
        ur.wait_up(lab)
        ur.wait_carries(lab, "a")
        yield lab


def settle(lab):
    """As the lab was, with traffic that passes."""
    ur.wait_up(lab, seconds=20)
    ur.wait_carries(lab, "a", seconds=30)
    ur.pings(lab)


@cases.case("a plain packet of the site's source that comes in on a line does not reach the Internet")
def _(lab):
    site, port = lab.sites[0], ports()
    with unseen(lab, INTERNET, expression=f"udp port {port}"), dropped(lab, "drop.line_in", 3):
        onto_line(lab, "a", udp(site.lan4, t.INET4, port))
        onto_line(lab, "b", udp(site.lan4, t.INET4, port), udp(site.lan6, t.INET6, port))


@cases.case("a plain packet to a LAN host, to the router's own address of the prefix, or about "
            "either, does not get past a line")
def _(lab):
    site, port = lab.sites[0], ports()
    with unseen(lab, LAN, expression=f"udp port {port}"), dropped(lab, "drop.line_in", 6):
        onto_line(lab, "a", udp(t.INET4, site.lan4, port), udp(t.INET4, site.ur4, port))
        onto_line(lab, "b", udp(t.INET4, site.lan4, port), udp(t.INET6, site.lan6, port),
                  udp(t.INET6, site.ur6, port), quoting(site, port))


def quoting(site, port):
    """A forged "fragmentation needed" to the line's address about a packet of the site."""
    from scapy.layers.inet import ICMP, IP

    return (IP(src=t.INET4, dst=site.wan4("b")[1]) / ICMP(type=3, code=4, nexthopmtu=600) /
            udp(site.lan4, t.INET4, port))


@cases.case("fragments, IPv4 options and IPv6 extension headers are no way around that")
def _(lab):
    from scapy.layers.inet import IP, IPOption_Router_Alert
    from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment
    from scapy.packet import Raw

    site = lab.sites[0]
    first = IP(src=t.INET4, dst=site.lan4, id=7, proto=17, flags="MF") / Raw(b"g" * 64)
    later = IP(src=t.INET4, dst=site.lan4, id=7, proto=17, frag=8) / Raw(b"g" * 64)
    option = IP(src=t.INET4, dst=site.lan4, options=[IPOption_Router_Alert()]) / Raw(b"g" * 64)
    first6 = (IPv6(src=t.INET6, dst=site.lan6) / IPv6ExtHdrFragment(id=7, m=1, nh=17) /
              Raw(b"g" * 64))
    later6 = (IPv6(src=t.INET6, dst=site.lan6) / IPv6ExtHdrFragment(id=7, offset=8, nh=17) /
              Raw(b"g" * 64))
    behind = IPv6(src=t.INET6, dst=site.lan6) / IPv6ExtHdrDestOpt(nh=59)
    with unseen(lab, LAN, expression=f"src host {t.INET4} or src host {t.INET6}"), \
            dropped(lab, "drop.line_in", 6):
        onto_line(lab, "b", first, later, option, first6, later6, behind)


@cases.case("ARP and neighbour discovery on a line say nothing of the site's addresses")
def _(lab):
    from scapy.layers.inet6 import ICMPv6ND_NS, IPv6
    from scapy.layers.l2 import ARP

    site = lab.sites[0]
    theirs, theirs6 = site.wan4("b")[0], site.wan6()[0]
    asks = [ARP(op=1, psrc=theirs, pdst=site.ur4), ARP(op=1, psrc=site.lan4, pdst=site.wan4("b")[1]),
            IPv6(src=theirs6, dst=site.wan6()[1], hlim=255) / ICMPv6ND_NS(tgt=site.ur6)]
    with nothing_in_clear(lab), dropped(lab, "drop.line_in", len(asks)):
        onto_line(lab, "b", *asks)


@cases.case("what came in on a line leaves on no line, fragments too")
def _(lab):
    from scapy.layers.inet import IP
    from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment
    from scapy.packet import Raw

    site, port = lab.sites[0], ports()
    other = site.wan4("b")[0]
    first = IP(src=t.INET_IX4, dst=other, id=9, proto=17, flags="MF") / Raw(b"g" * 64)
    later = IP(src=t.INET_IX4, dst=other, id=9, proto=17, frag=8) / Raw(b"g" * 64)
    first6 = (IPv6(src=t.INET_IX6, dst=t.INET6) / IPv6ExtHdrFragment(id=7, m=1, nh=17) /
              Raw(b"g" * 64))
    places = ("ispa", "ur1"), ("ispb", "ur1")
    with unseen(lab, *places, expression=f"udp port {port} or src host {t.INET_IX4} or "
                                         f"src host {t.INET_IX6}"), \
            dropped(lab, "drop.line_transit", 6):
        onto_line(lab, "a", udp(t.INET_IX4, other, port), udp(t.INET_IX4, t.INET4, port), first,
                  later)
        onto_line(lab, "b", udp(t.INET_IX6, t.INET6, port), first6)


def downlink_frame(lab):
    """An IP packet of the DR on line a, as it carries a ping to the LAN host."""
    from scapy.layers.inet import IP, UDP

    with Capture(lab, "ispa", "ur1", f"udp port 4754 and src host {t.DR_IX4}",
                 direction="out") as capture:
        lab.ping("inet", lab.sites[0].lan4, "-s", "77")
        wait_until(lambda: [p for p in capture.packets() if data(p)], "a packet of data")
    packet = next(p for p in capture.packets() if data(p))[IP]
    del packet[UDP].chksum
    return packet


def data(packet):
    """Whether it is the ping of 77 bytes in a tunnel."""
    return packet.haslayer("UDP") and len(packet["UDP"].payload) == 8 + 20 + 8 + 77


@cases.case("a tunnel's packet in a frame of VLAN 35 is not this line's; behind a priority tag it is")
def _(lab):
    packet = downlink_frame(lab)
    packet["UDP"].chksum = 0
    carried = counter(lab, "forwarded.downlink")
    with unseen(lab, LAN, expression="icmp[icmptype] == icmp-echo"):
        onto_line(lab, "a", packet, tag=(35,))
        onto_line(lab, "a", packet, tag=(0, 0))
        with dropped(lab, "drop.line_vlan", 2):
            onto_line(lab, "a", packet, tag=(0, 35))
            onto_line(lab, "a", udp(t.INET4, lab.sites[0].lan4, ports()), tag=(0, 0, 0))
    expect(counter(lab, "forwarded.downlink") == carried, "it counts as carried to the site")
    with Capture(lab, *LAN, "icmp[icmptype] == icmp-echo") as capture:
        onto_line(lab, "a", packet, tag=(0,))
        wait_until(capture.lines, "the packet behind a priority tag")


@cases.case("a plain packet behind a priority tag is dropped as one without")
def _(lab):
    site, port = lab.sites[0], ports()
    with unseen(lab, LAN, INTERNET, expression=f"udp port {port}"), dropped(lab, "drop.line_in", 2):
        onto_line(lab, "a", udp(t.INET4, site.lan4, port), udp(site.lan4, t.INET4, port), tag=(0,))


@cases.case("a tunnel's UDP checksum that is right is accepted, of every length, a wrong one is not")
def _(lab):
    from scapy.layers.inet import ICMP, IP, UDP
    from scapy.packet import Raw

    packet = downlink_frame(lab)
    gre = bytes(packet[UDP].payload)[:8]

    def carrying(size, wrong=0):
        inner = IP(src=t.INET4, dst=lab.sites[0].lan4) / ICMP(id=size) / Raw(b"c" * size)
        out = IP(src=packet.src, dst=packet.dst) / UDP(
            sport=packet[UDP].sport, dport=packet[UDP].dport) / Raw(gre + bytes(inner))
        out = IP(bytes(out))
        out[UDP].chksum ^= wrong
        return out

    sizes = (0, 1, 2, 3, 467, 468, 469, 470, 979, 980, 981, 1400)
    with Capture(lab, *LAN, "icmp[icmptype] == icmp-echo") as capture, \
            dropped(lab, "drop.udp_checksum", len(sizes)):
        onto_line(lab, "a", *(carrying(s) for s in sizes))
        onto_line(lab, "a", *(carrying(s, wrong=0x0100) for s in sizes))
        wait_until(lambda: len(capture.packets()) >= len(sizes), "all of the right ones")
    arrived = sorted(p[ICMP].id for p in capture.packets())
    expect(arrived == sorted(sizes), f"{arrived}")


@cases.case("a packet that expires on the router, or is for an unused address, is answered from the "
            "site's prefix and through a tunnel")
def _(lab):
    site = lab.sites[0]
    unused = {4: "203.0.113.14", 6: "2001:db8:5000:100::77"}
    own = {4: (site.lan4, site.ur4), 6: (site.lan6, site.ur6)}
    with nothing_in_clear(lab):
        for family in (4, 6):
            host, router = own[family]
            said = lab.ping("inet", host, "-t", "2", check=False).stdout
            expect(f"From {router} " in said, said)
            said = lab.ping("inet", unused[family], "-W", "5", check=False).stdout
            expect(f"From {router} " in said, said)


@cases.case("what the router's LAN cannot take is answered so too, and what a tunnel cannot from the "
            "LAN's address")
def _(lab):
    site, net = lab.sites[0], lab.net["ur1"]
    net.ip("link", "set", "lan0", "mtu", "1400")
    try:
        with nothing_in_clear(lab):
            said = lab.ping("inet", site.lan4, "-M", "do", "-s", "1400", check=False).stdout
            expect(f"From {site.ur4} " in said and "mtu = 1400" in said, said)
            said = lab.ping("inet", site.lan6, "-M", "do", "-s", "1380", check=False).stdout
            expect(f"From {site.ur6} " in said and "mtu=1400" in said.replace(" ", ""), said)
    finally:
        net.ip("link", "set", "lan0", "mtu", "1500")
        net.ip("address", "replace", f"{site.ur6}/64", "dev", "lan0", "nodad")
    for to, router in ((t.INET4, site.ur4), (t.INET6, site.ur6)):
        said = lab.ping("lan1", to, "-M", "do", "-s", "1450", check=False).stdout
        expect(f"From {router} " in said, said)


@cases.case("a LAN host reaches a line's own network through the tunnel")
def _(lab):
    ways = ("ispa", t.POOL4, t.DR_IX4), ("ispb", t.POOL6, t.DR_IX6)
    for isp, pool, router in ways:
        lab.net[isp].ip("route", "add", pool, "via", router)
    try:
        with nothing_in_clear(lab):
            lab.ping("lan1", lab.sites[0].wan4("a")[0])
            lab.ping("lan1", lab.sites[0].wan6()[0])
    finally:
        for isp, pool, router in ways:
            lab.net[isp].ip("route", "del", pool, "via", router)


@cases.case("without urd's rules, without its routes, with its device down and up, nothing of the site "
            "leaves in clear")
def _(lab):
    site, net = lab.sites[0], lab.net["ur1"]
    with ur.stopped(lab), nothing_in_clear(lab):
        for family in ("-4", "-6"):
            for priority in (4754, 4755):
                while net.run(["ip", family, "rule", "del", "priority", priority],
                              check=False).returncode == 0:
                    pass
        for family in (4, 6):
            lab.ping("lan1", outside(family), "-W", "1", count=5, check=False)
        net.run(["ping", "-c", "2", "-W", "1", "-I", site.ur4, t.INET4], check=False)
        net.ip("link", "set", "dr0", "down")
        net.ip("link", "set", "dr0", "up")
        net.ip("route", "flush", "table", "4754")
        lab.ping("lan1", t.INET4, "-W", "1", count=2, check=False)
    wait_until(lambda: counter(lab, "drop.line_out") >= 14, "the drops of both families")
    settle(lab)


@cases.case("an ICMP error about the site's packet that would leave in clear is dropped")
def _(lab):
    site, net = lab.sites[0], lab.net["ur1"]
    with nothing_in_clear(lab):
        for host in (site.lan4, site.lan6):
            before = counter(lab, "drop.line_icmp")
            with ur.stopped(lab):
                net.sysctl("net.ipv4.icmp_errors_use_inbound_ifaddr", 0)
                net.ip("address", "flush", "dev", "dr0")
                net.ip("address", "del", f"{site.ur6}/64", "dev", "lan0")
                # The DR takes the lines for down when urd is silent for long.
                lab.ping("inet", host, "-t", "2", "-W", "0.2", count=3, check=False)
            net.ip("address", "add", f"{site.ur6}/64", "dev", "lan0", "nodad")
            wait_until(lambda now=before: counter(lab, "drop.line_icmp") > now, f"errors to {host}")
            settle(lab)


@cases.case("a LAN host with an address that is not the site's gets out of no line")
def _(lab):
    net, lan = lab.net["ur1"], lab.net["lan1"]
    lan.ip("address", "add", "10.7.7.7/24", "dev", "eth0")
    net.ip("address", "add", "10.7.7.1/24", "dev", "lan0")
    try:
        with unseen(lab, ("ispa", "ur1"), ("ispb", "ur1"), expression="host 10.7.7.7"), \
                dropped(lab, "drop.local_breakout", 3):
            lab.ping("lan1", t.INET4, "-I", "10.7.7.7", "-W", "1", count=3, check=False)
    finally:
        lan.ip("address", "del", "10.7.7.7/24", "dev", "eth0")
        net.ip("address", "del", "10.7.7.1/24", "dev", "lan0")


@cases.case("from a line no LAN host is reached, whatever its address, from the Internet or from a "
            "neighbour")
def _(lab):
    net, lan, site, port = lab.net["ur1"], lab.net["lan1"], lab.sites[0], ports()
    own = ("10.7.7.1/24", "10.7.7.7/24"), ("fd00::1/64", "fd00::7/64")
    for router, host in own:
        net.ip("address", "add", router, "dev", "lan0", *(("nodad",) if ":" in router else ()))
        lan.ip("address", "add", host, "dev", "eth0", *(("nodad",) if ":" in host else ()))
    near4, near6 = site.wan4("a")[1].rsplit(".", 1)[0] + ".77", site.wan6()[1] + ":77"
    try:
        with unseen(lab, LAN, expression=f"udp port {port}"), dropped(lab, "drop.line_forward", 4):
            onto_line(lab, "a", udp(t.INET4, "10.7.7.7", port), udp(near4, "10.7.7.7", port))
            onto_line(lab, "b", udp(t.INET6, "fd00::7", port), udp(near6, "fd00::7", port))
        # A network that nobody has is answered as before, and what is for the router is its own.
        with dropped(lab, "drop.line_forward", 0):
            onto_line(lab, "a", udp(t.INET4, site.wan4("a")[1], port))
            lab.ping("ispa", site.wan4("a")[1])
            lab.ping("ispb", site.wan6()[1])
    finally:
        for router, host in own:
            net.ip("address", "del", router, "dev", "lan0")
            lan.ip("address", "del", host, "dev", "eth0")


def hidden(site, line):
    """ICMP errors about packets of the site, in a form in which a line cannot see what they are about."""
    from scapy.layers.inet import ICMP, IP
    from scapy.layers.inet6 import (ICMPv6EchoRequest, ICMPv6ND_Redirect, ICMPv6PacketTooBig, IPv6,
                                    IPv6ExtHdrDestOpt, IPv6ExtHdrFragment)
    from scapy.packet import Raw

    ours6 = site.wan6()[1]
    error = IP(bytes(IP(src=t.INET4, dst=site.wan4(line)[1]) /
                     ICMP(type=3, code=4, nexthopmtu=600) / udp(site.ur4, t.INET4, 40000, 64)))
    first = IP(src=error.src, dst=error.dst, id=78, proto=1, flags="MF") / Raw(bytes(error)[20:60])
    base = IPv6(src=t.INET6, dst=ours6)
    inner = IPv6(src=site.lan6, dst=t.INET6) / ICMPv6EchoRequest(id=5, data=b"x" * 1160)
    message = bytes(IPv6(bytes(base / ICMPv6PacketTooBig(mtu=1300) / inner)))[40:]
    chain = base
    for _ in range(9):
        chain /= IPv6ExtHdrDestOpt()
    redirect = bytes(IPv6(bytes(IPv6(src="fe80::1", dst=ours6, hlim=255) / ICMPv6ND_Redirect(
        tgt="fe80::1", dst=t.INET6))))[40:]
    return [first, base / IPv6ExtHdrFragment(id=9, m=1, nh=58) / Raw(message[:600]),
            base / IPv6ExtHdrFragment(id=10, m=0, nh=58) / Raw(message),
            base / IPv6ExtHdrFragment(id=11, m=1, nh=60) / IPv6ExtHdrDestOpt(nh=58) /
            Raw(message[:600]),
            chain / ICMPv6PacketTooBig(mtu=1300) / inner,
            base / IPv6ExtHdrFragment(id=12, m=0, nh=58) / Raw(redirect)]


@cases.case("an ICMP error about the site's packet is dropped in fragments and behind nine extension "
            "headers too, and moves no MTU of the site; a large ping in fragments is answered")
def _(lab):
    from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment
    from scapy.packet import Raw

    net, site = lab.net["ur1"], lab.sites[0]
    tried = hidden(site, "b")
    with dropped(lab, "drop.line_hidden", len(tried)):
        # The rest of each follows, as it would have to.
        onto_line(lab, "b", tried[0], *tried[2:])
        onto_line(lab, "b", tried[1], IPv6(src=t.INET6, dst=site.wan6()[1]) /
                  IPv6ExtHdrFragment(id=9, m=0, offset=75, nh=58) /
                  Raw(bytes(tried[2])[48 + 600:]))
    found = net.ip("-6", "route", "get", t.INET6, "from", site.lan6, "iif", "lan0").stdout
    expect("mtu 1300" not in found, found)
    with dropped(lab, "drop.line_hidden", 0):
        lab.ping("ispb", site.wan4("b")[1], "-s", "4000")
        lab.ping("ispb", site.wan6()[1], "-s", "4000")


@cases.case("an ND redirect on a line is dropped that has an address of the site as its destination")
def _(lab):
    from scapy.layers.inet6 import ICMPv6ND_Redirect, IPv6

    site = lab.sites[0]
    ours6 = site.wan6()[1]

    def redirect(target, to):
        return IPv6(src="fe80::1", dst=ours6, hlim=255) / ICMPv6ND_Redirect(tgt=target, dst=to)

    with dropped(lab, "drop.line_in", 2):
        onto_line(lab, "b", redirect("fe80::77", site.lan6), redirect(site.lan6, t.INET6),
                  redirect("fe80::77", "2001:db8:77::1"))


@cases.case("the router's own traffic on its lines goes on: pings, TCP, DNS, DHCP, and other tunnels")
def _(lab):
    site, net = lab.sites[0], lab.net["ur1"]
    drops = {k: v for k, v in ur.status(lab)["counters"].items() if k.startswith("drop.line")}
    for line in ("a", "b"):
        theirs, ours = site.wan4(line)
        lab.ping(f"isp{line}", ours)
        lab.ping("ur1", theirs)
    lab.ping("ispb", site.wan6()[1])
    lab.ping("ur1", t.INET4)
    lab.ping("ur1", t.INET6)
    closed = net.run(["/usr/bin/python3", "-c", "import socket, sys\n"
                      "s = socket.socket(); s.settimeout(5)\n"
                      "print(s.connect_ex((sys.argv[1], 9)))", t.INET4]).stdout
    expect(closed.strip() == "111", f"a TCP port that is closed says {closed}")
    with Capture(lab, "ispa", "ur1", "udp port 68 or proto 50 or proto 47", direction="in") as capture:
        own_frames(net, site)
        wait_until(lambda: len(capture.lines()) >= 3, "DHCP, ESP and GRE of the router")
    now = {k: v for k, v in ur.status(lab)["counters"].items() if k.startswith("drop.line")}
    expect(now == drops, f"{drops} -> {now}")
    return lost_nothing(four_probes(lab, seconds=1))


def own_frames(net, site):
    """What programs of the router send: a DHCP client, and kernels of other tunnels."""
    from scapy.layers.inet import IP, UDP
    from scapy.packet import Raw

    from lablib.packets import inject
    from scapy.layers.l2 import Ether

    ours = site.wan4("a")[1]
    packets = [IP(src="0.0.0.0", dst="255.255.255.255") / UDP(sport=68, dport=67) / Raw(b"d" * 240),
               IP(src=ours, dst=t.INET4, proto=50) / Raw(b"e" * 64),
               IP(src=ours, dst=t.INET4, proto=47) / Raw(b"\0\0\x08\0" + b"\x45" * 20)]
    inject(net, "wan-a", [bytes(Ether(dst="ff:ff:ff:ff:ff:ff") / p) for p in packets])


if __name__ == "__main__":
    sys.exit(cases.run(guarded_lab, describe=Lab.describe))
