"""What changes while packets go by: provisioning, changing, deleting."""

from lib.answers import answered
from lib.case import Case
from lib.forward import NOBODY, encapsulated, hop, out_of_tunnel
from lib.model import GRE, GRE_UDP, KEY_A, SITE4, SITE6, Tunnel, site, tunnel
from lib.packets import ether, sent, udp
from lib.topology import (GATEWAY4, GATEWAY6, GATEWAY_MAC, HOST4, HOST6, LINE_B4, POOLS)

DOWN = [udp(HOST4, SITE4), udp(HOST6, SITE6)]
UP = [udp(SITE4, HOST4), udp(SITE6, HOST6)]


def _delete():
    customer = site()
    line = customer.tunnels[0]
    frames, out = [ether(p) for p in DOWN], [sent(encapsulated(customer, p)) for p in DOWN]
    nobody = [answered(p, NOBODY) for p in DOWN]
    back = [ether(out_of_tunnel(line, p)) for p in UP]
    return Case("delete-subscriber", "nothing before it is provisioned, nothing after it is deleted") \
        .send(frames) \
        .apply(POOLS).send(frames, nobody) \
        .provision(customer).send(frames, out).send(back, [sent(hop(p)) for p in UP]) \
        .delete("subscriber", customer.name).send(frames, nobody).send(back) \
        .delete("policy", customer.policy).delete("pool", "test-v4").delete("pool", "test-v6") \
        .send(frames) \
        .counters(drop__transit=4, drop__no_subscriber=4, forwarded__downlink=2, forwarded__uplink=2,
                  drop__unknown_tunnel=2)


def _again():
    customer = site(tunnel(GRE))
    frames, out = [ether(p) for p in DOWN], [sent(encapsulated(customer, p)) for p in DOWN]
    return Case("provision-again", "a deleted subscriber can be provisioned again, as it was") \
        .provision(customer).send(frames, out).delete("subscriber", customer.name) \
        .send(frames, [answered(p, NOBODY) for p in DOWN]) \
        .provision(customer).send(frames, out) \
        .counters(forwarded__downlink=4, drop__no_subscriber=2)


def _move():
    before, after = site(), site(tunnel())
    after.tunnels[0].remote = LINE_B4
    frames = [ether(p) for p in DOWN]
    old, new = (ether(out_of_tunnel(s.tunnels[0], UP[0])) for s in (before, after))
    return Case("update-remote", "when the far end of a tunnel moves, packets go there and come from there") \
        .provision(before) \
        .send([*frames, old, new], [*(sent(encapsulated(before, p)) for p in DOWN), sent(hop(UP[0]))]) \
        .provision(after) \
        .send([*frames, old, new], [*(sent(encapsulated(after, p)) for p in DOWN), sent(hop(UP[0]))]) \
        .counters(forwarded__downlink=4, forwarded__uplink=2, drop__outer_source=2)


def _new_generation():
    before, after = site(), site(tunnel(key=KEY_A + (1 << 24)))
    old, new = (ether(out_of_tunnel(s.tunnels[0], UP[0])) for s in (before, after))
    return Case("update-generation", "a key's next generation replaces the one before it") \
        .provision(before).send([old, new], [sent(hop(UP[0]))]) \
        .provision(after).send([old, new, ether(DOWN[0])],
                               [sent(hop(UP[0])), sent(encapsulated(after, DOWN[0]))]) \
        .counters(forwarded__uplink=2, forwarded__downlink=1, drop__stale_generation=2)


def _new_encapsulation():
    before, after = site(tunnel(GRE_UDP)), site(tunnel(GRE, 6))
    frames = [ether(p) for p in DOWN]
    return Case("update-encapsulation", "a tunnel's encapsulation and outer family can change") \
        .provision(before).send(frames, [sent(encapsulated(before, p)) for p in DOWN]) \
        .provision(after).send(frames, [sent(encapsulated(after, p)) for p in DOWN]) \
        .counters(forwarded__downlink=4)


def _prefixes():
    before, after = site(), site()
    after.prefixes = ["203.0.113.0/29", "2001:db8:5000:100::/64", "203.0.113.12/30"]
    hosts = ["203.0.113.1", "203.0.113.10", "203.0.113.12", "203.0.113.15", "203.0.113.16",
             "2001:db8:5000:100::1", "2001:db8:5000:101::1"]
    packets = [udp(HOST6 if ":" in h else HOST4, h) for h in hosts]
    frames = [ether(p) for p in packets]

    def reach(customer, numbers):
        return [sent(encapsulated(customer, p)) if n in numbers else answered(p, NOBODY)
                for n, p in enumerate(packets)]

    return Case("update-prefixes", "a subscriber's prefixes can change; edges of prefixes are exact") \
        .provision(before).send(frames, reach(before, (1, 2, 3, 5, 6))) \
        .provision(after).send(frames, reach(after, (0, 2, 3, 5))) \
        .counters(forwarded__downlink=9, drop__no_subscriber=5)


def _seed():
    customer = site(tunnel(), hash_seed=0xC0FFEE42)
    return Case("hash-seed", "a configured hash seed decides over source port and flow label") \
        .provision(customer).send([ether(p) for p in DOWN], [sent(encapsulated(customer, p)) for p in DOWN]) \
        .counters(forwarded__downlink=2)


ACCESS_MAC, ACCESS_GATEWAY_MAC = "02:00:00:00:00:02", "02:00:00:00:00:fd"


def _two_ports():
    """The Internet on one port, the lines on another."""
    network = {"name": "net0", "mac": "02:00:00:00:00:01",
               "addresses": ["192.0.2.9/24", "2001:db8:fe::9/64"],
               "routes": [{"prefix": "0.0.0.0/0", "via": GATEWAY4},
                          {"prefix": "::/0", "via": "2001:db8:fe::fe"}],
               "neighbours": [{"address": GATEWAY4, "mac": GATEWAY_MAC},
                              {"address": "2001:db8:fe::fe", "mac": GATEWAY_MAC}]}
    access = {"name": "acc0", "mac": ACCESS_MAC,
              "addresses": ["198.51.100.1/24", "2001:db8:ff::1/64"],
              "routes": [{"prefix": "2001:db8:a::/48", "via": GATEWAY6}],
              "neighbours": [{"address": "198.51.100.7", "mac": ACCESS_GATEWAY_MAC},
                             {"address": GATEWAY6, "mac": ACCESS_GATEWAY_MAC}]}
    near = tunnel()
    near.local = "198.51.100.1"
    customer = site(near, tunnel(GRE, 6, line="b"), tiers=[[("a", 1)], [("b", 1)]])
    customer.tunnels[1].remote = "2001:db8:a::7"
    down = [sent(encapsulated(customer, p), ACCESS_MAC, ACCESS_GATEWAY_MAC) for p in DOWN]
    up = [ether(out_of_tunnel(line, p), ACCESS_GATEWAY_MAC, ACCESS_MAC)
          for line in customer.tunnels for p in UP]
    plain = [sent(hop(p)) for p in UP] * 2
    return Case("two-ports", "from the network's port to the lines' port and back; each port sends with "
                "its own MAC address", ports=[network, access]) \
        .provision(customer) \
        .step({"net0": [ether(p) for p in DOWN]}, {"acc0": down}) \
        .step({"acc0": up}, {"net0": plain}) \
        .step({"net0": [ether(p) for p in DOWN], "acc0": up}, {"acc0": down, "net0": plain}) \
        .counters(forwarded__downlink=4, forwarded__uplink=8)


def _sixteen_ports():
    """As many as a case may have, a line of the site over each."""
    macs = [(f"02:00:00:00:01:{n:02x}", f"02:00:00:00:02:{n:02x}") for n in range(16)]
    ports = [{"name": f"p{n}", "mac": macs[n][0], "addresses": [f"10.0.{n}.1/24"],
              "neighbours": [{"address": f"10.0.{n}.254", "mac": macs[n][1]}],
              "routes": [{"prefix": f"198.51.{n}.0/24" if n else "0.0.0.0/0", "via": f"10.0.{n}.254"}]}
             for n in range(16)]
    lines = [Tunnel(f"l{n}", GRE, f"10.0.{n}.1", f"198.51.{n}.9", 0x01000030 + n) for n in range(16)]
    customer = site(*lines, tiers=[[(line.line, 1) for line in lines]])
    up = [udp(SITE4, HOST4, sport=6000 + n) for n in range(16)]
    down = [udp(HOST4, SITE4, sport=7000 + n) for n in range(40)]
    out = {}
    for packet in down:
        n = lines.index(customer.tunnel_of(packet))
        out.setdefault(f"p{n}", []).append(sent(encapsulated(customer, packet), *macs[n]))
    assert len(out) > 12
    return Case("sixteen-ports", "packets into all of sixteen ports, and out of nearly all", ports=ports) \
        .provision(customer) \
        .step({f"p{n}": [ether(out_of_tunnel(lines[n], up[n]), *reversed(macs[n]))] for n in range(16)},
              {"p0": [sent(hop(p), *macs[0]) for p in up]}) \
        .step({"p0": [ether(p, *reversed(macs[0])) for p in down]}, out) \
        .counters(forwarded__uplink=16, forwarded__downlink=40)


def cases():
    return [_delete(), _again(), _move(), _new_generation(), _new_encapsulation(), _prefixes(), _seed(),
            _two_ports(), _sixteen_ports()]
