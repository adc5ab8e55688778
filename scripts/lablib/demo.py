"""What `scripts/lab up` shows of a lab that is up: traffic, and a line that fails under it."""

import time

from . import faults
from . import topology as t
from . import ur
from .saved import command
from .shell import LabError, wait_until
from .stream import site_streams
from .traffic import FileServer, download

FLOWS = 12
RATE = 1000
# A line that came back is good for so long before its wait-to-restore begins.
CLEAN_SECONDS = 5


def step(text):
    print(f"  - {text}", flush=True)


def show(lab, *arguments):
    """A command of drcli, with what it prints."""
    print(f"\n    $ drcli {' '.join(arguments)}")
    for line in lab.router.drcli(*arguments).stdout.splitlines():
        print(f"    {line}")
    print(flush=True)


def wait_attached(lab):
    """Until the site has both of its tunnels, and they carry; urd has just started."""
    started = time.monotonic()
    wait_until(lambda: ur.status(lab)["signalling"]["connected"], "ur1 attached to drd",
               seconds=15, interval=0.05)
    attached = time.monotonic() - started
    ur.wait_up(lab)
    ur.wait_carries(lab, "a")
    prefixes = " and ".join(lab.sites[0].prefixes)
    step(f"attached after {attached:.1f} s: it was given {prefixes}, tunnels, keys, policy and timers")
    step(f"both tunnels UP after {time.monotonic() - started:.1f} s; line a carries, line b stands by: "
         "so says the policy")


def downloads(lab):
    """Both directions, both families, several flows each."""
    step("http servers on inet and lan1")
    servers = {node: FileServer(lab, node) for node in ("inet", "lan1")}
    site = lab.sites[0]
    ways = [("lan1", "inet", t.INET4), ("lan1", "inet", t.INET6),
            ("inet", "lan1", site.lan4), ("inet", "lan1", site.lan6)]
    for client, server, address in ways:
        size = sum(download(lab, client, servers[server], address) for _ in range(FLOWS))
        step(f"curl on {client} from {server} ({address}): {FLOWS} files, {size >> 20} MiB, "
             "checksums right")


def tell_loss(way, recording, begin, end):
    """What a stream lost between two moments; all of it in one gap, or that is said too."""
    whole = recording.window(begin, end)
    gap_ended = begin + int((whole["at_ms"] + whole["interruption_ms"]) * 1e6)
    after = recording.window(gap_ended, end)
    step(f"{way}: {whole['lost']} packets lost, {whole['interruption_ms']:.0f} ms without one; of the "
         f"{after['packets']} sent after that, {after['packets'] - after['lost']} arrived, over line b")


def pull_and_plug(lab):
    """Cuts the line that carries a stream, says what that cost, and plugs it in again."""
    site = lab.sites[0]
    print("\nNow the line that carries the traffic fails: everything on it is lost, and nobody is "
          "told.", flush=True)
    step(f"{RATE:,} numbered packets a second each way between inet and lan1")
    with site_streams(lab, rate=RATE) as running:
        time.sleep(0.5)
        begin = time.monotonic_ns()
        faults.cut(lab, "a")
        step(f"{command(lab.name)} cut a")
        ur.wait_carries(lab, "b")
        time.sleep(0.5)
        end = time.monotonic_ns()
        recordings = {way: one.end() for way, one in running.items()}
    for way, text in (("downlink", "DR to site"), ("uplink", "site to DR")):
        tell_loss(text, recordings[way], begin, end)
    show(lab, "tunnel", "list")

    step(f"{command(lab.name)} mend a")
    mended = time.monotonic()
    faults.mend(lab, "a")
    ur.wait_up(lab, "a", seconds=20)
    step(f"its tunnel is UP again after {time.monotonic() - mended:.1f} s; traffic stays on line b")
    show(lab, "event", "list", "--subscriber", site.name, "--line", "a", "--kind", "state",
         "--limit", "3")
    step("OUTAGE is for how long the line itself gave no sign of life; traffic did not wait for it")
    tell_return(lab, "a")


def attached(lab):
    """A site that has been started with its credentials."""
    wait_attached(lab)
    downloads(lab)
    print(t.picture(static=False), end="")
    show(lab, "tunnel", "list")
    pull_and_plug(lab)


def static(lab):
    """A site whose tunnels are configured at both ends."""
    downloads(lab)
    for (_, line), status in lab.tunnels().items():
        counters = status["counters"]
        if not (counters["downlinkPackets"] and counters["uplinkPackets"]):
            raise LabError(f"the tunnel over line {line} carried nothing in one direction: "
                           f"{counters}")
    step("both tunnels carried traffic in both directions")
    print(t.picture(static=True), end="")
    show(lab, "tunnel", "list")


def tell_return(lab, line):
    """When traffic goes back to a line, as the DR has it."""
    live = lab.tunnels()[lab.sites[0].name, line]["liveness"]
    if not live.get("ineligible"):
        step(f"line {line} may carry traffic")
    elif "restoreLeftMs" in live:
        left = live["restoreLeftMs"] / 1000
        due = time.strftime("%H:%M:%S", time.localtime(time.time() + left))
        step(f"line {line} has failed, so it {live['ineligible']}: from {due} on (in {left:.0f} s) "
             "traffic moves back to it, little by little, and no packet is lost")
    else:
        step(f"line {line}: {live['ineligible']}")


def next_steps(name, *, static):
    lab = command(name)
    lines = [
        ("shell dr", "a shell beside the DR; drcli finds it. Then, for example:"),
        ("", "  drcli tunnel watch          state, round trip, loss, rates, each second"),
        ("", "  drcli event watch           what happens, as it happens"),
        ("", "  drcli stats drops           every reason to drop a packet, and how many were"),
        ("cut a", "line a loses everything, silently (b: the other line)"),
        ("unplug a", "the site's router sees the link of line a go down"),
        ("mtu a 1454", "the ISP of line a carries packets of at most 1454 bytes"),
        ("delay a 80ms", "the round trip over line a is 80 ms longer: the line stays in use"),
        ("firewall b", "the ISP of line b lets in only what the site has asked for"),
        ("mend a", "line a works again, whatever was done to it"),
        ("restart drd", "kill -9 and start again: traffic does not notice (also dr-dataplane, urd)"),
        ("shell lan1", f"a host of the site: ping {t.INET6}, or"),
        ("", f"  curl -s -o /dev/null http://{t.INET4}:8080/file.bin"),
        ("status", "processes, lines, tunnels, counters of both ends"),
        ("down", "removes everything"),
    ]
    if not static:
        lines.append(("up --static", "afterwards: the same network, tunnels configured by hand, "
                                     "without keepalives"))
    width = len(lab) + 14
    text = "".join(f"  {f'{lab} {verb}' if verb else '':<{width}} {what}\n" for verb, what in lines)
    return "Try next:\n" + text
