#!/usr/bin/python3
"""A second implementation of the tunnel protocol, made from its specification alone, is the UR."""

import json
import sys
import time
from contextlib import closing
from ipaddress import ip_address
from pathlib import Path

sys.dont_write_bytecode = True
ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "scripts"), str(Path(__file__).resolve().parent)]

from lablib.cases import Cases, expect
from lablib.packets import Capture
from lablib.shell import wait_until
from second_ur import attacks
from second_ur import messages as wire
from second_ur import session
from second_ur import site
from second_ur.flow import Tier, default_seed, flow_hash

cases = Cases()


def published(name):
    return json.loads((ROOT / "proto" / name).read_text())


@cases.case("its messages, hashes and bucket maps are the published ones")
def _(_lab):
    for vector in published("keepalive_vectors.json")["messages"]:
        data = bytes.fromhex(vector["message"])
        key = wire.mac_key(bytes.fromhex(vector["tunnelKey"]), int(vector["sender"] == "UR"),
                           vector["keyNumber"], vector["greKey"])
        message = wire.decode(data)
        expect(wire.genuine(message, key), f"the tag of {vector['what']}")
        expect(wire.encode(message, key) == data, f"{vector['what']} is encoded otherwise")
    flows = published("tunnel_vectors.json")
    for vector in flows["vectors"]:
        flow = vector["flow"]
        ends = [ip_address(flow[name]).packed for name in ("source", "destination")]
        found = flow_hash((*ends, flow["sourcePort"], flow["destinationPort"], flow["protocol"]),
                          vector["seed"])
        expect(found == vector["hash"], f"{vector['what']}: hash {found:08x}")
    for vector in flows["maps"]:
        tier = Tier(dict(enumerate(vector["weights"])))
        found = [tier.walk(b, set(vector["eligible"])) for b in range(256)]
        wanted = [int(c, 36) for c in vector["map"]]
        expect(found == wanted, f"weights {vector['weights']}, eligible {vector['eligible']}")
    for name, seed in flows["seeds"].items():
        expect(default_seed(name) == seed, f"the seed of {name!r}")


@cases.case("both sessions come up, and the DR knows both endpoints")
def _(lab):
    site.wait_up(lab)
    for n, line in enumerate(site.LINES):
        live = site.tunnel(lab, line)["liveness"]
        address = site.SITE.wan4(line)[1]
        expect(live["endpoint"] == f"{address}:4754", f"endpoint {live['endpoint']}")
        wait_until(lambda n=n: lab.ur.sessions[n].observed == (address, 4754),
                   f"the observed address of line {line}")
        changes = [name for _, name, _ in lab.ur.sessions[n].changes]
        expect(changes[-1] == "Up" and changes.count("Up") == 1, f"{changes}")
    site.wait_set(lab, 0b11)


def live(lab, line):
    return site.tunnel(lab, line)["liveness"]


@cases.case("intervals are negotiated: what one end asks for slows the other down, and back")
def _(lab):
    slow, fast = 300000, 100000

    def intervals():
        of = live(lab, "b")
        return of["txIntervalUs"], of["rxIntervalUs"]

    session = lab.ur.sessions[1]
    for wish in (slow, fast):
        with lab.ur.lock:
            session.set_wish(wish / 1e6)
        wait_until(lambda: session.confirmed == session.wish, "the final of the DR")
        wait_until(lambda w=wish: intervals() == (w, w), f"{wish} us both ways at the DR")


def on_computed_lines(lab, lines):
    """Datagrams of 32 flows of each family, each on the line of §3-§4, out and back."""
    found = site.exchange(lab)
    for flow, (out, back, payload, ttl) in found.items():
        expect(out == back, f"{flow} left on line {out} and came back on {back}")
        expect(payload == b"second" + bytes([62]) and ttl == 62,
               f"{flow}: {payload}, TTL {ttl}")
    expect({out for out, *_ in found.values()} == set(lines), f"lines used: {found}")


@cases.case("data passes in both directions over both tunnels, each flow on the line that the text "
            "computes, in IPv4 and IPv6")
def _(lab):
    on_computed_lines(lab, (0, 1))
    for one in lab.ur.sessions.values():
        wait_until(lambda s=one: (s.remote["data_received"], s.remote["data_sent"])
                   == (s.data_sent, s.data_received), "the same counts of data at both ends")


def is_right(packet):
    """Whether a UDP checksum is what scapy computes."""
    from scapy.layers.inet import IP

    again = IP(bytes(packet["IP"]))
    del again["UDP"].chksum
    return IP(bytes(again))["UDP"].chksum == packet["UDP"].chksum


@cases.case("the DR's messages have right UDP checksums, and its data 0 once its probes with 0 were "
            "acknowledged")
def _(lab):
    with Capture(lab, "ispa", "ur1", "udp src port 4754 and src host 198.51.100.1") as capture:
        site.exchange(lab)
        time.sleep(1)
    kinds = {True: [], False: []}
    for packet in capture.packets():
        # The GRE protocol type stands behind UDP's header and GRE's flags.
        kind = bytes(packet["UDP"].payload)[2:4]
        kinds[kind == wire.GRE_MESSAGE.to_bytes(2, "big")].append(packet)
    expect(len(kinds[True]) >= 3 and len(kinds[False]) >= 3, kinds)
    zero = [p for p in kinds[True] if p["UDP"].chksum == 0]
    expect(not zero and all(map(is_right, kinds[True])), kinds[True])
    expect(all(p["UDP"].chksum == 0 for p in kinds[False]), kinds[False])


@cases.case("each end finds what its direction carries, and both use the smaller size")
def _(lab):
    def carried():
        return [(lab.ur.sessions[n].carries(), live(lab, line).get("pathMtu"))
                for n, line in enumerate(site.LINES)]

    def settles(size, look):
        """On a busy machine a probe or an answer may be late. Then the UR settles for less, and searches
        again only after minutes; so it is told to."""
        for _ in range(4):
            with lab.ur.lock:
                look(time.monotonic())
            look = mtu.search
            deadline = time.monotonic() + 5
            while time.monotonic() < deadline:
                if carried()[0] == (size, size):
                    return
                time.sleep(0.05)
        expect(False, f"{size} on line a, not {carried()[0]}")

    wait_until(lambda: carried() == [(site.MTU, site.MTU)] * 2, f"{site.MTU} on both lines")
    mtu = lab.ur.sessions[0].mtu
    narrow = 1400
    isp = lab.net["ispa"]
    # What is received may be longer by a VLAN's tag, whether it has one or not.
    isp.ip("link", "set", "ur1", "mtu", narrow - 4)
    try:
        settles(narrow - session.HEADERS, mtu.confirm)
    finally:
        isp.ip("link", "set", "ur1", "mtu", "1500")
    settles(site.MTU, mtu.search)


@cases.case("keys are changed without a change of state, and the old key is refused afterwards")
def _(lab):
    def rotate():
        before = site.keys_of(lab)
        lab.router.drcli("subscriber", "rotate-keys", site.SITE.name)
        wait_until(lambda: site.keys_of(lab) != before, "new keys in the store")
        lab.wait_in_sync()
        lab.ur.set_keys(site.keys_of(lab))

    def used():
        return {wire.decode(lab.ur.heard[n][-1]).key_number for n in lab.ur.sessions}

    changes = [list(s.changes) for s in lab.ur.sessions.values()]
    old = attacks.genuine(lab)
    for _ in range(2):
        number = max(lab.ur.sessions[0].peer.numbers)
        rotate()
        wait_until(lambda n=number: used() == {n + 1}, "the DR sends with the new key")
    expect([s.changes for s in lab.ur.sessions.values()] == changes, "a state has changed")
    with attacks.Undisturbed(lab, {"keepalive.unknown_key": 1}):
        attacks.send_all(lab, [old])


ATTACKS = [
    ("forged", "keepalive.bad_tag", lambda lab: [attacks.forged(attacks.genuine(lab))]),
    ("replayed", "keepalive.replayed", lambda lab: [lab.ur.sent[0][-3]]),
    ("reflected", "keepalive.bad_tag", lambda lab: [lab.ur.heard[0][-1]]),
    ("one of an earlier start, with another salt,", "keepalive.unknown_salt",
     lambda lab: [attacks.genuine(lab, salt=lab.ur.salt ^ 1)]),
]

for what, counter, make in ATTACKS:
    @cases.case(f"a keepalive that is {what} from the UR's own address is counted as {counter} and "
                "changes nothing")
    def _(lab, counter=counter, make=make):
        with attacks.Undisturbed(lab, {counter: 1}):
            attacks.send_all(lab, make(lab))


@cases.case("a keepalive cut at every length, its length field right or not, is counted as "
            "keepalive.malformed and changes nothing")
def _(lab):
    whole = attacks.genuine(lab)
    cut = [whole[:n] for n in range(len(whole))]
    cut += [attacks.shortened(whole, n) for n in range(len(whole)) if n not in (56, 88)]
    with attacks.Undisturbed(lab, {"keepalive.malformed": len(cut)}):
        attacks.send_all(lab, cut)


@cases.case("a keepalive for a tunnel that is not is counted as drop.unknown_tunnel, one of "
            "another generation as drop.stale_generation")
def _(lab):
    key = lab.ur.sessions[0].tunnel["id"]
    with attacks.Undisturbed(lab, {"drop.unknown_tunnel": 1, "drop.stale_generation": 1}):
        attacks.send_all(lab, [attacks.genuine(lab)], key=key & 0xFF000000 | 3999)
        attacks.send_all(lab, [attacks.genuine(lab)], key=key ^ 0x80000000)


@cases.case("a genuine keepalive sent on from another address earns a challenge that is no larger, "
            "and moves nothing without an answer; what is not genuine earns nothing")
def _(lab):
    with closing(attacks.Outsider(lab)) as outsider:
        with attacks.Undisturbed(lab, {"keepalive.bad_tag": 2, "keepalive.malformed": 1,
                                       "keepalive.replayed": 1, "keepalive.other_source": 0}):
            for message in (attacks.forged(attacks.genuine(lab)), lab.ur.heard[0][-1],
                            attacks.genuine(lab)[:50], lab.ur.sent[0][-3]):
                outsider.send(message)
        expect(not outsider.read(), f"answered: {outsider.answers}")
        outsider.sent = 0
        with attacks.Undisturbed(lab, {"keepalive.other_source": 1,
                                       "keepalive.challenges_sent": 1}):
            outsider.send(attacks.genuine(lab))
            wait_until(outsider.read, "a challenge")
        size = sum(map(len, outsider.answers))
        expect(size <= outsider.sent, f"{size} bytes for {outsider.sent}")
        challenge = wire.decode(outsider.answers[0])
        expect(challenge.kind == wire.CHALLENGE, f"not a challenge: {challenge}")
        # With the answer, which the key's owner alone can make, it moves, and the UR takes it back.
        moved = lab.counters()["keepalive.adopted_endpoints"]
        outsider.send(attacks.answer(lab, challenge.token))
        wait_until(lambda: lab.counters()["keepalive.adopted_endpoints"] >= moved + 2,
                   "the endpoint moved with the answer, and back", seconds=5)
    wait_until(lambda: not live(lab, "a")["endpoint"].startswith(attacks.ELSEWHERE),
               "the UR has its tunnel back", seconds=5)
    site.wait_up(lab)


@cases.case("a line that the UR reports dead over the other one is out of the DR's use with that "
            "keepalive, before its detection time")
def _(lab):
    lab.ur.link_down(0)
    site.wait_set(lab, 0b10)
    wait_until(lambda: site.tunnel(lab, "a")["state"] == "DOWN", "line a DOWN at the DR")
    cause = live(lab, "a")["cause"]
    expect(cause == "the peer reported it over another line", f"its cause is {cause}")
    on_computed_lines(lab, (1,))


@cases.case("the line comes back: Up at once, in use again only after its wait-to-restore")
def _(lab):
    lab.ur.link_up(0)
    wait_until(lambda: lab.ur.states()[0] == session.UP, "line a Up")
    began = time.monotonic()
    expect(lab.ur.choice.lines == 0b10, "it is used before it has waited")
    site.wait_set(lab, 0b11, seconds=15)
    waited = time.monotonic() - began
    expect(waited > 5, f"it waited {waited:.1f} s only: 5 s clean and 1 s were to be")
    # The DR moves bucket by bucket, idle ones first; this UR at once.
    wait_until(lambda: all(out == back for out, back, *_ in site.exchange(lab).values()),
               "the DR's buckets moved", interval=0.3)
    on_computed_lines(lab, (0, 1))


@cases.case("dr-dataplane starts again: its salt is adopted after a challenge, the sessions come "
            "up, and nothing waits")
def _(lab):
    before = [s.peer.adoptions for s in lab.ur.sessions.values()]
    lab.router.dataplane.kill()
    lab.router.start_dataplane()
    lab.wait_in_sync()
    wait_until(lambda: all(s.peer.adoptions > n
                           for s, n in zip(lab.ur.sessions.values(), before)), "the new salt")
    site.wait_up(lab)
    site.wait_set(lab, 0b11)
    on_computed_lines(lab, (0, 1))


@cases.case("a UR that shuts down says AdminDown, and the DR takes its tunnels down as the peer's "
            "will")
def _(lab):
    lab.ur.administrative_down()
    wait_until(lambda: all(site.tunnel(lab, line)["state"] == "DOWN" for line in site.LINES),
               "both tunnels DOWN")
    for line in site.LINES:
        of = live(lab, line)
        expect(of["peerState"] == "ADMIN_DOWN", f"{of}")
        expect(of["cause"] == "the peer's administrator took it down", f"{of}")


if __name__ == "__main__":
    sys.exit(cases.run(site.lab_with_second_ur, site.describe))
