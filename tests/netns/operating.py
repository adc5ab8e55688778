#!/usr/bin/python3
"""What an operator is told and asked: credentials, events, warnings, signals, and files that go back."""

import json
import os
import resource
import signal
import stat
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from lablib import topology as t
from lablib import ur
from lablib.cases import Cases, expect
from lablib.lab import Lab, temporary_lab
from lablib.shell import wait_until

cases = Cases()
SITE = "site-1"


@contextmanager
def attached_lab():
    with temporary_lab(signalled={"wait_to_restore": 1}) as lab:
        ur.wait_up(lab)
        yield lab


def drcli(lab, *arguments, code=0, stdin=None, **options):
    """What it prints on both outputs; its exit code must be `code`."""
    command = [str(part) for part in lab.router.drcli_command(*arguments)]
    done = subprocess.run(command, input=stdin if stdin is not None else "", text=True, check=False,
                          capture_output=True, timeout=60, **options)
    expect(done.returncode == code, f"{arguments}: exit {done.returncode}, not {code}: "
                                    f"{done.stdout}{done.stderr}")
    return done.stdout, done.stderr


def events(lab, *kinds):
    filters = [word for kind in kinds for word in ("--kind", kind)]
    return lab.router.drcli_json("event", "list", *filters)


def told(lab, kind, **fields):
    """The latest event of the kind that has these fields, once it is there."""
    found = []

    def there():
        found[:] = [e for e in events(lab, kind)
                    if all(e.get(name) == value for name, value in fields.items())]
        return found
    wait_until(there, f"an event of kind {kind} with {fields}")
    return found[0]


def accepted(lab):
    every = lab.router.drcli_json("credential", "list", "--subscriber", SITE)
    return every[0]["accepted"] if every else []


def logged(lab, level, text):
    return any(line.startswith(f"drd: {level}: ") and text in line
               for line in lab.router.drd.output().splitlines())


@cases.case("a router that attaches is an event, and a line of drd's log")
def _(lab):
    event = told(lab, "attach", subscriber=SITE)
    expect(":" in event["endpoint"], f"{event}")
    expect(told(lab, "enroll", subscriber=SITE)["detail"] == "the first credentials", "enroll")
    expect(logged(lab, "info", f"attach: subscriber {SITE}"), lab.router.drd.output())


@cases.case("a full disk, a device or a folder is found before any credentials are issued")
def _(lab):
    before = accepted(lab)
    folder = lab.directory / "full"
    folder.mkdir()

    def no_space():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
    _, said = drcli(lab, "subscriber", "enroll", SITE, "--out", folder / "new.json", code=2,
                    preexec_fn=no_space)
    expect("new.json: cannot be written" in said, said)
    for path in ("/dev/null", folder):
        _, said = drcli(lab, "subscriber", "enroll", SITE, "--out", path, code=2)
        expect("no regular file" in said, said)
    _, said = drcli(lab, "subscriber", "enroll", SITE, "--revoke-older", code=2)
    expect("--out FILE" in said, said)
    expect(not list(folder.iterdir()), f"left over: {list(folder.iterdir())}")
    expect(accepted(lab) == before, "credentials were issued, or lost")


@cases.case("credentials replace a file as a whole, mode 0600, and say what becomes of the older ones")
def _(lab):
    path = lab.directory / "again.json"
    path.write_text("x" * 200_000)
    path.chmod(0o644)
    _, said = drcli(lab, "subscriber", "enroll", SITE, "--out", path)
    expect("older ones accepted until its router attaches with these: 1" in said, said)
    expect(json.loads(path.read_text())["subscriber"] == SITE, "no credentials in the file")
    expect(stat.S_IMODE(path.stat().st_mode) == 0o600, oct(path.stat().st_mode))
    expect(not [p for p in lab.directory.iterdir() if ".new-" in p.name], "a file is left over")
    states = [(c["inUse"], c["replacesOlder"]) for c in accepted(lab)]
    expect(states == [(True, False), (False, True)], f"{states}")


@cases.case("urd reads its credentials again on SIGHUP, loses nothing, and the older ones end with that")
def _(lab):
    (lab.directory / "again.json").rename(lab.directory / f"urd-{SITE}.json")
    urd = lab.urds[SITE]
    stream = subprocess.Popen(
        [str(x) for x in lab.net["lan1"].command(["ping", "-n", "-q", "-i", "0.02", "-c", "150",
                                                  t.INET4])], stdout=subprocess.PIPE, text=True)
    os.kill(urd.pid, signal.SIGHUP)
    wait_until(lambda: [(c["inUse"], c["replacesOlder"]) for c in accepted(lab)] == [(True, False)],
               "one credential, in use")
    out = stream.communicate(timeout=30)[0]
    expect(urd.alive() and "event=credentials" in urd.output(), urd.output())
    expect("150 received" in out, out)
    for line in ("a", "b"):
        ur.wait_for(lab, line, {"state": "up", "flaps": 0})


@cases.case("a file that is no credentials leaves urd with those it has; one with a byte order mark is good")
def _(lab):
    urd, path = lab.urds[SITE], lab.directory / f"urd-{SITE}.json"
    good = path.read_bytes()
    path.write_bytes(good.decode().encode("utf-16"))
    os.kill(urd.pid, signal.SIGHUP)
    wait_until(lambda: "is UTF-16; it must be UTF-8" in urd.output(), "urd's word on UTF-16")
    path.write_bytes(b"\xef\xbb\xbf" + good)
    count = urd.output().count("event=credentials")
    os.kill(urd.pid, signal.SIGHUP)
    wait_until(lambda: urd.output().count("event=credentials") > count, "the file is read")
    wait_until(lambda: ur.status(lab)["signalling"]["connected"], "attached again")


@cases.case("SIGHUP ends neither drd nor dr-dataplane")
def _(lab):
    for process in (lab.router.drd, lab.router.dataplane):
        os.kill(process.pid, signal.SIGHUP)
    wait_until(lambda: logged(lab, "info", "SIGHUP"), "drd's word on SIGHUP")
    lab.router.drcli("system", "status")
    expect(lab.router.dataplane.alive(), "dr-dataplane has ended")
    lab.ping("lan1", t.INET4)


@cases.case("what get and list print in JSON, apply takes, and changes nothing")
def _(lab):
    text = ""
    for kind in ("pool", "policy", "subscriber"):
        listed = drcli(lab, "-o", "json", kind, "list", "--all")[0]
        name = json.loads(listed)[0]["name"]
        text += json.dumps(json.loads(drcli(lab, "-o", "json", kind, "get", name)[0])) + "\n"
        out, said = drcli(lab, kind, "apply", "-f", "-", stdin=listed)
        expect(f" 0 created, 0 updated, {len(json.loads(listed))} unchanged, 0 refused" in out,
               f"{kind}: {out}{said}")
    out = drcli(lab, "apply", "-f", "-", stdin=text)[0]
    expect(out == "3 objects: 0 created, 0 updated, 3 unchanged, 0 refused\n", out)
    wrong = json.loads(text.splitlines()[2]) | {"revision": 999999}
    expect("1 object: " in drcli(lab, "apply", "-f", "-", stdin=json.dumps(wrong))[0], "a wrong revision")
    _, said = drcli(lab, "apply", "--check-revision", "-f", "-", stdin=json.dumps(wrong), code=1)
    expect("revision" in said, said)


@cases.case("an apply warns of a tunnel end that is not here, a prefix in no pool, a site without tunnels")
def _(lab):
    policy = lab.router.drcli_json("subscriber", "get", SITE)["policy"]
    odd = {"subscriber": {
        "name": "odd", "prefixes": ["192.88.99.0/29"], "policy": policy,
        "tunnels": [{"line": "a", "encapsulation": "GRE_UDP", "local": "198.51.100.99"}]}}
    out, said = drcli(lab, "apply", "-f", "-", stdin=json.dumps(odd))
    expect("1 created" in out, out)
    for text in ("warning: subscriber.prefixes[0]: 192.88.99.0/29 is in no pool",
                 "warning: subscriber.tunnels[0].local: 198.51.100.99 is no address of this machine"):
        expect(text in said, said)
    odd["subscriber"]["tunnels"] = []
    out = json.loads(drcli(lab, "-o", "json", "apply", "-f", "-", stdin=json.dumps(odd))[0])
    expect([w["field"] for w in out["warnings"]] == ["subscriber.tunnels", "subscriber.prefixes[0]"],
           f"{out}")
    expect(told(lab, "provisioned", subscriber="odd")["cause"] == "changed: tunnels", "no event")
    drcli(lab, "subscriber", "delete", "odd")  # it has no credentials: nobody is asked


@cases.case("an apply that takes a tunnel from a site that uses it says so, and is an event")
def _(lab):
    site = lab.router.drcli_json("subscriber", "get", SITE)
    less = site | {"tunnels": [x for x in site["tunnels"] if x["line"] == "a"]}
    _, said = drcli(lab, "apply", "-f", "-", stdin=json.dumps(less))
    expect('the tunnel of line "b"' in said and "was UP, and is removed" in said, said)
    told(lab, "provisioned", subscriber=SITE, cause="changed: tunnels")
    _, said = drcli(lab, "apply", "-f", "-", stdin=json.dumps(site))
    expect(not said, said)
    ur.wait_up(lab)


@cases.case("drain, and a data plane that goes and comes back, are events")
def _(lab):
    drcli(lab, "system", "drain", "on")
    drcli(lab, "system", "drain", "off")
    told(lab, "drain", detail="drain is on")
    told(lab, "drain", detail="drain is off")
    lab.router.dataplane.kill()
    told(lab, "data-plane-lost")
    expect(logged(lab, "warning", "data-plane-lost"), lab.router.drd.output())
    lab.router.start_dataplane()
    told(lab, "data-plane-back")
    lab.wait_in_sync()
    ur.wait_up(lab)


@cases.case("a site with credentials is not deleted by a script that does not say --yes")
def _(lab):
    _, said = drcli(lab, "subscriber", "delete", SITE, code=2)
    expect("is attached now" in said and "--yes" in said, said)
    lab.router.drcli("subscriber", "get", SITE)


@cases.case("a revoked site says so in get and in the list, its router is refused, and both are events")
def _(lab):
    drcli(lab, "subscriber", "revoke", SITE)
    told(lab, "revoke", subscriber=SITE, detail="credentials refused from now on: 1")
    told(lab, "detach", subscriber=SITE, cause="revoked")
    shown = drcli(lab, "subscriber", "get", SITE)[0]
    expect("none: all were revoked at " in shown, shown)
    expect("all revoked at " in drcli(lab, "credential", "list")[0], "credential list")
    os.kill(lab.urds[SITE].pid, signal.SIGHUP)  # it tries again at once
    event = told(lab, "refused", subscriber=SITE)
    expect("revoked" in event["cause"] and event["endpoint"], f"{event}")
    expect(logged(lab, "warning", f"refused: subscriber {SITE}"), lab.router.drd.output())


@cases.case("enrolled again with --revoke-older, it attaches after a SIGHUP, and is deleted with --yes")
def _(lab):
    _, said = drcli(lab, "subscriber", "enroll", SITE, "--out", lab.directory / f"urd-{SITE}.json",
                    "--revoke-older")
    expect("older ones refused from now on: 0" in said, said)
    os.kill(lab.urds[SITE].pid, signal.SIGHUP)
    ur.wait_up(lab)
    drcli(lab, "subscriber", "delete", SITE, "--yes")
    told(lab, "provisioned", subscriber=SITE, cause="deleted, with its router's credentials")


if __name__ == "__main__":
    sys.exit(cases.run(attached_lab, Lab.describe))
