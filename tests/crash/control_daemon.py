#!/usr/bin/python3
"""drd dies while packets flow: nobody notices; it comes back and sets right what differs."""

import json
import sys
import time
from contextlib import contextmanager
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from lablib.cases import Cases, expect
from lablib.lab import Lab, temporary_lab
from lablib.process import Process
from lablib.probe import four_probes, lost_nothing
from lablib.shell import wait_until

cases = Cases()


@contextmanager
def lab_of_two_sites():
    with temporary_lab(sites=2) as lab:
        for site in lab.sites:  # neighbours and paths known: what is counted later is the rest
            for address in (site.lan4, site.lan6):
                lab.ping("inet", address, count=3)
        yield lab


def rows(lab):
    return {row["table"]: (row["desired"], row["installed"])
            for row in lab.router.drcli_json("system", "status")["rows"]}


@cases.case("without a disturbance the probe loses no packet (the measure for what follows)",
            needed=True)
def _(lab):
    return lost_nothing(four_probes(lab, seconds=6))


@cases.case("kill -9 of drd and its restart lose no packet in any direction or family")
def _(lab):
    before = rows(lab)
    probes = four_probes(lab, seconds=10)
    time.sleep(2)  # the stream before the kill
    lab.router.drd.kill()
    time.sleep(2)  # and while drd is away
    lab.router.start_drd()
    lab.wait_in_sync()
    note = lost_nothing(probes)
    expect(rows(lab) == before, f"rows before: {before}, after: {rows(lab)}")
    return note


@cases.case("after the restart every row is reconciled: desired and installed are equal")
def _(lab):
    for table in ("pools", "policies", "subscribers", "tunnels"):
        desired, installed = rows(lab)[table]
        expect(desired == installed and desired > 0,
               f"{table}: {desired} desired, {installed} installed")


@cases.case("a subscriber deleted while drd was cut off from the data plane is swept when it is "
            "back; the other one loses no packet", needed=True)
def _(lab):
    lab.ping("inet", lab.sites[1].lan4)
    probes = four_probes(lab, seconds=14)
    lab.router.drd.kill()
    # A drd with the same store that cannot find the data plane: the deletion reaches only the store.
    real = lab.router.dataplane_socket
    lab.router.dataplane_socket = real.with_name("nobody.sock")
    lab.router.start_drd()
    lab.router.drcli("subscriber", "delete", "site-2", "--yes")
    lab.router.drd.kill()
    lab.router.dataplane_socket = real
    lab.ping("inet", lab.sites[1].lan4)  # still installed: the data plane has heard nothing
    lab.router.start_drd()
    lab.wait_in_sync()
    expect(rows(lab)["subscribers"] == (1, 1), f"subscribers: {rows(lab)['subscribers']}")
    expect(rows(lab)["tunnels"] == (2, 2), f"tunnels: {rows(lab)['tunnels']}")
    done = lab.ping("inet", lab.sites[1].lan4, "-W", "0.3", check=False)
    expect(done.returncode != 0, "the deleted subscriber still answers")
    return lost_nothing(probes)


@cases.case("the swept subscriber can be provisioned again, and works")
def _(lab):
    lab.provision()
    # It has new tunnel ids; its UR gets a new configuration.
    site = lab.sites[1]
    lab.urds.pop(site.name).stop()
    lab.start_urd(site)
    lab.ping("inet", site.lan4, count=3)
    lab.ping("inet", site.lan6, count=3)


@cases.case("drd killed in the middle of a bulk provisioning comes back with a store that it can "
            "read, and in sync")
def _(lab):
    count = 10000
    objects = [{"subscriber": {"name": f"bulk-{n}", "policy": "both-lines",
                               "prefixes": [f"2001:db8:5080:{n:x}::/64"]}} for n in range(count)]
    path = lab.directory / "bulk.ndjson"
    path.write_text("".join(json.dumps(o) + "\n" for o in objects))
    apply = Process.start("drcli apply", lab.router.drcli_command("apply", "-f", path),
                          lab.directory / "apply.log")
    lab.helpers.append(apply)
    first = ("subscriber", "list", "--prefix", "bulk-", "--limit", "1")
    wait_until(lambda: lab.router.drcli_json(*first), "the first of them", interval=0.005)
    lab.router.drd.kill()
    wait_until(lambda: not apply.alive(), "the end of drcli apply")
    lab.helpers.remove(apply)
    lab.router.start_drd()
    lab.wait_in_sync()
    stored = len(lab.router.drcli_json("subscriber", "list", "--prefix", "bulk-"))
    lab.router.drcli("apply", "-f", path)
    lab.wait_in_sync()
    whole = (count + 2, count + 2)
    expect(rows(lab)["subscribers"] == whole, f"subscribers: {rows(lab)['subscribers']}")
    lab.ping("inet", lab.sites[0].lan4)
    return f"{stored} of {count} were stored when it was killed"


if __name__ == "__main__":
    sys.exit(cases.run(lab_of_two_sites, Lab.describe))
