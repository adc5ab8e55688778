#!/usr/bin/python3
"""Ports that stay alive: whatever strangers send, no packet buffer is lost and no port falls silent.

Longer and harder: `scripts/soak ports`.
"""

import sys
from contextlib import contextmanager
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from lablib import strangers, switching
from lablib import topology as t
from lablib.cases import Cases, expect
from lablib.lab import Lab, temporary_lab
from lablib.shell import wait_until

cases = Cases()
TARGETS = 60
# Random keepalives for each packet buffer. That each buffer lies
# where AF_XDP can use it is the matter of unit-packet_pool.
TURNS = 2
# Buffers on their way at the moment of counting.
WAVER = 300


@contextmanager
def attached_site():
    with temporary_lab(emulated=True, signalled={"wait_to_restore": 2}) as lab:
        strangers.targets(lab, TARGETS)
        switching.wait_up(lab)
        yield lab


def passes(lab):
    """Traffic in both directions and families."""
    site = lab.sites[0]
    for node, address in (("lan1", t.INET4), ("inet", site.lan4), ("lan1", t.INET6),
                          ("inet", site.lan6)):
        wait_until(lambda n=node, a=address: lab.ping(n, a, check=False).returncode == 0,
                   f"an answer of {address} to {node}", seconds=10)


def ups(lab):
    return {line for (name, line), status in lab.tunnels().items()
            if name == lab.sites[0].name and status["state"] == "UP"}


@cases.case("more random keepalives than there are packet buffers leave the port alive: it "
            "receives, traffic passes, tunnels are UP")
def _(lab):
    passes(lab)
    ids = strangers.tunnel_ids(lab)
    (total,) = [row["capacityRows"] for row in lab.router.drcli_json("system", "status")["memory"]
                if row["what"] == "buffers"] or [16384]

    def received():
        return lab.counters()["port.ix0.rx_packets"]

    before = received()
    for _ in range(30):
        strangers.flood(lab, ids, rate=20_000, seconds=1)
        if received() - before > TURNS * total:
            break
    flooded = received()
    expect(flooded - before > TURNS * total, f"only {flooded - before} were received")
    passes(lab)
    expect(received() > flooded, "port.ix0.rx_packets stands still")
    wait_until(lambda: ups(lab) == {"a", "b"}, "both tunnels UP", seconds=10)
    return f"{flooded - before} received, {total} packet buffers"


@cases.case("as many packet buffers are in use after a flood as before it")
def _(lab):
    # The port's rings are full of their own from here on.
    strangers.flood(lab, strangers.tunnel_ids(lab), rate=20_000, seconds=1)
    passes(lab)
    before = lab.buffers()
    strangers.flood(lab, strangers.tunnel_ids(lab), rate=20_000, seconds=2)
    for node, address in (("inet", lab.sites[0].lan4), ("lan1", t.INET4)):
        lab.ping(node, address, "-s", 4000, "-M", "dont", count=20, check=False)
        lab.ping(node, address, "-t", 1, "-W", "0.2", count=20, check=False)
    passes(lab)
    wait_until(lambda: abs(lab.buffers() - before) <= WAVER, "as many buffers as before",
               seconds=5)
    return f"{before} before, {lab.buffers()} after"


if __name__ == "__main__":
    sys.exit(cases.run(attached_site, Lab.describe))
