#!/usr/bin/python3
"""Ports that stay alive: whatever strangers send, no packet buffer is lost and no port falls silent.

Longer and harder: `scripts/soak ports`.
"""

import sys
from contextlib import contextmanager
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from lablib import strangers, switching  # noqa: E402
from lablib import topology as t  # noqa: E402
from lablib.cases import Cases, expect  # noqa: E402
from lablib.lab import Lab, temporary_lab  # noqa: E402
from lablib.shell import wait_until  # noqa: E402

cases = Cases()
TARGETS = 60
# More often than there are packet buffers, each of them has then been in a port's hands.
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


@cases.case("random keepalives that move each packet buffer through the port leave it alive: it "
            "receives, traffic passes, tunnels are UP")
def _(lab):
    passes(lab)
    ids = strangers.tunnel_ids(lab)
    (total,) = [row["capacityRows"] for row in lab.router.drcli_json("system", "status")["memory"]
                if row["what"] == "buffers"] or [16384]
    before = lab.counters()["punt.keepalive"]
    # Each that is handed to a liveness thread takes another buffer into the port.
    moved = 0
    for _ in range(30):
        strangers.flood(lab, ids, rate=20_000, seconds=1)
        moved = lab.counters()["punt.keepalive"] - before
        if moved > TURNS * total:
            break
    received = lab.counters()["port.ix0.rx_packets"]
    passes(lab)
    expect(lab.counters()["port.ix0.rx_packets"] > received, "port.ix0.rx_packets stands still")
    wait_until(lambda: ups(lab) == {"a", "b"}, "both tunnels UP", seconds=10)
    expect(moved > TURNS * total, f"only {moved} keepalives were handed over")
    return f"{moved} keepalives handed over, {total} packet buffers"


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
