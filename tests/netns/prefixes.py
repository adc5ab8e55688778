#!/usr/bin/python3
"""Prefixes and attachments that would cut a site's router off: who refuses them, what goes on, and
the way back from one that nobody could refuse."""

import json
import sys
from contextlib import contextmanager
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from lablib import topology as t
from lablib import ur
from lablib.cases import Cases, expect
from lablib.lab import Lab, temporary_lab
from lablib.probe import four_probes, lost_nothing
from lablib.programs import signalled_resources
from lablib.shell import wait_until

cases = Cases()
# Signalling comes from an address of the router that is on no line: nobody can know that a prefix
# around it cuts signalling off.
LOOPBACK, AROUND = "100.77.0.1", "100.77.0.0/24"
FALLBACK_S = 30


@contextmanager
def attached_lab():
    with temporary_lab(signalled={"wait_to_restore": 5}) as lab:
        ur.wait_up(lab)
        ur.wait_carries(lab, "a")
        yield lab


def apply(lab, *more, check=True, **fields):
    """The site as it was provisioned, with these prefixes too."""
    site = signalled_resources(lab.sites, wait_to_restore=5)[-1]["subscriber"]
    site = {**site, "prefixes": [*site["prefixes"], *more], **fields}
    return lab.router.drcli("apply", "-f", "-", stdin=json.dumps({"subscriber": site}),
                            check=check)


def refusal(lab, *more, **fields):
    done = apply(lab, *more, check=False, **fields)
    expect(done.returncode != 0, f"taken: {done.stdout}")
    return done.stdout + done.stderr


def attachment(lab):
    found = lab.router.drcli_json("subscriber", "attachments")
    return found[0] if found else {}


def generation(lab):
    return ur.status(lab)["signalling"]["generation"]


def declined(lab, says, *, seconds=10):
    """Until the operator sees that the UR declines the present generation, and why."""
    def there():
        now = attachment(lab)
        return now if (now.get("declinedGeneration") == now.get("sentGeneration", 0)
                       and says in now.get("declinedWhy", "")) else None
    return wait_until(there, f"drcli to show that \"{says}\"", seconds=seconds, interval=0.1)


def applied(lab, *, seconds=10):
    def there():
        now = attachment(lab)
        return (now.get("appliedGeneration", 0) == now.get("sentGeneration", 1)
                and not now.get("declinedGeneration")
                and generation(lab) == int(now["sentGeneration"]))
    wait_until(there, "the newest generation in force", seconds=seconds, interval=0.1)


@cases.case("drd refuses a prefix that holds the DR's own addresses, networks or next hops, by the "
            "field")
def _(lab):
    for prefix, what in (("192.0.2.0/29", "192.0.2.1, an address of this router"),
                         ("198.51.100.2/32", "198.51.100.2, a next hop"),
                         ("2001:db8:e::/64", "2001:db8:e::1, an address of this router"),
                         ("192.0.0.0/16", "192.0.2.1, an address of this router")):
        text = refusal(lab, prefix)
        expect(f"subscriber.prefixes[2]: {prefix} holds {what}" in text, text)
    text = refusal(lab, "198.51.100.0/28")
    expect("subscriber.tunnels[0].local: 198.51.100.1 is inside the site's prefix" in text, text)


@cases.case("drd refuses a prefix that holds an end of a tunnel that was learned")
def _(lab):
    def refused():
        """drd looks at what was learned once a second; until then the site is put right again."""
        done = apply(lab, "198.18.65.0/24", check=False)
        if done.returncode == 0:
            apply(lab)
        return done.stdout + done.stderr if done.returncode != 0 else None

    text = wait_until(refused, "a refusal", seconds=10, interval=0.3)
    expect("subscriber.prefixes[2]: 198.18.65.0/24 holds 198.18.65.2, where a tunnel of subscriber "
           "\"site-1\" ends now" in text, text)


@cases.case("drd refuses prefixes and tunnel ends that nobody can have")
def _(lab):
    for prefix in ("127.0.0.0/8", "224.0.0.0/24", "169.254.0.0/16", "fe80::/64", "0.0.0.0/0"):
        text = refusal(lab, prefix)
        expect(f"subscriber.prefixes[2]: {prefix} overlaps" in text, text)
    for end in ("127.0.0.1", "224.0.0.1", "169.254.3.3"):
        text = refusal(lab, tunnels=[{"line": "a", "encapsulation": "GRE_UDP",
                                      "local": t.DR_IX4, "remote": end}])
        expect("subscriber.tunnels[0].remote" in text and "unicast" in text, text)


@cases.case("terminal escapes in an applied file reach no terminal")
def _(lab):
    for fields in ({"name": "site\x1b[2J"}, {"prefixes": ["\x1b]0;owned\x07"]},
                   {"policy": "\u202egold\u009b31m"}):
        text = refusal(lab, **fields)
        expect(not any(c in text for c in "\x1b\x07\u202e\u009b"), repr(text))
        expect("\\x1b" in text or "\\u202e" in text, repr(text))


@cases.case("a prefix around a line's address that drd cannot know is declined by the router: no "
            "packet is lost, and the operator sees why")
def _(lab):
    before = generation(lab)
    lab.net["ur1"].ip("address", "add", "198.18.1.200/24", "dev", "wan-a")
    probes = four_probes(lab, seconds=3)
    apply(lab, "198.18.1.192/28", "198.18.65.1/32")
    seen = declined(lab, "198.18.1.200, the address of line a")
    note = lost_nothing(probes)
    expect("prefixes[3]: 198.18.65.1/32 holds 198.18.65.1, the gateway of line b"
           in seen["declinedWhy"], f"{seen}")
    expect(generation(lab) == before, f"{ur.status(lab)['signalling']}")
    table = lab.router.drcli("subscriber", "attachments").stdout
    expect("DECLINED" in table and "the address of line a" in table, table)
    shown = lab.urd_status(lab.sites[0])
    expect(f"declined generation {seen['sentGeneration']}: " in shown, shown)
    expect(f'of subscriber "site-1" declines generation {seen["sentGeneration"]}, and says "'
           in lab.router.drd.output(), lab.router.drd.output())
    return note


@cases.case("corrected at the DR it is in force at once, and no longer shown as declined")
def _(lab):
    apply(lab)
    applied(lab)
    expect("declined" not in lab.urd_status(lab.sites[0]), lab.urd_status(lab.sites[0]))
    return lost_nothing(four_probes(lab, seconds=1))


@cases.case("when a line's second address comes to lie in a prefix the prefix stays in use")
def _(lab):
    net, prefix = lab.net["ur1"], lab.sites[0].prefixes[1]
    inside = prefix.replace("00::/56", "99::2/64")
    net.ip("address", "add", inside, "dev", "wan-b", "nodad")
    wait_until(lambda: f"{inside.split('/')[0]}, the address of line b" in
               lab.urds["site-1"].output(), "the log to name the address")
    expect(not ur.status(lab)["leftOutPrefixes"], f"{ur.status(lab)['leftOutPrefixes']}")
    note = lost_nothing(four_probes(lab, seconds=1))
    net.ip("address", "del", inside, "dev", "wan-b")
    return note


def signal_from_loopback(lab):
    """Both lines' default routes have a source that is on no line."""
    net = lab.net["ur1"]
    net.ip("address", "add", f"{LOOPBACK}/32", "dev", "lo")
    for line, metric in (("a", ()), ("b", ("metric", "200"))):
        gateway, own = lab.sites[0].wan4(line)
        lab.net[f"isp{line}"].ip("route", "replace", f"{LOOPBACK}/32", "via", own)
        net.ip("route", "replace", "default", "via", gateway, "dev", f"wan-{line}", "src",
               LOOPBACK, *metric)
    lab.net["dr"].ip("route", "replace", f"{LOOPBACK}/32", "via", t.ISP_IX4["a"])


@cases.case("an attachment that cuts signalling off is gone back from by itself, and the operator "
            "sees it")
def _(lab):
    lab.urds["site-1"].stop()
    signal_from_loopback(lab)
    lab.start_urd(lab.sites[0], more=("--fallback-after", FALLBACK_S))
    wait_until(lambda: LOOPBACK in attachment(lab).get("peer", ""), "signalling from the loopback",
               seconds=30, interval=0.2)
    good = generation(lab)
    kept = lab.directory / "urd-site-1-state" / "attachment.good"
    wait_until(kept.exists, "an attachment that has worked", seconds=60, interval=0.5)
    apply(lab, AROUND)
    wait_until(lambda: generation(lab) != good, "the attachment that cuts signalling")
    seen = declined(lab, "cut signalling", seconds=120)
    expect(generation(lab) == good, f"{ur.status(lab)['signalling']}")
    expect(ur.status(lab)["signalling"]["connected"], f"{ur.status(lab)['signalling']}")
    expect(f"generation {good} is in force" in seen["declinedWhy"], f"{seen}")
    log = lab.urds["site-1"].output()
    expect(f"generation {good} is in force again" in log, log)
    return lost_nothing(four_probes(lab, seconds=1))


@cases.case("it stays declined over a restart of urd, at once")
def _(lab):
    good = generation(lab)
    lab.urds["site-1"].stop()
    lab.start_urd(lab.sites[0], more=("--fallback-after", FALLBACK_S))
    declined(lab, "cut signalling", seconds=30)
    expect(generation(lab) == good, f"{ur.status(lab)['signalling']}")
    ur.wait_up(lab)
    ur.pings(lab)


@cases.case("what the DR says next is taken again")
def _(lab):
    apply(lab)
    applied(lab, seconds=20)


@cases.case("where IPv6 is switched off the site has its IPv4, and the log names the setting")
def _(lab):
    net = lab.net["ur1"]
    lab.urds["site-1"].stop()
    for name in ("all", "default"):
        net.run(["sysctl", "-qw", f"net.ipv6.conf.{name}.disable_ipv6=1"])
    lab.start_urd(lab.sites[0])
    ur.wait_up(lab, seconds=30)
    ur.pings(lab)
    left_out = ur.status(lab)["leftOutPrefixes"]
    expect(len(left_out) == 1 and "net.ipv6.conf.all.disable_ipv6" in left_out[0], f"{left_out}")
    expect("IPv6 is switched off here" in lab.urds["site-1"].output(), "nothing in the log")


if __name__ == "__main__":
    sys.exit(cases.run(attached_lab, describe=Lab.describe))
