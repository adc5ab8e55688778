"""Of scripts/replay itself: a spoilt case must fail, and say what is wrong."""

import json
import os
import shutil
import signal
import struct
import subprocess
import time
import xml.etree.ElementTree as ET

from .tools import expect

CASE = "downlink-gre-udp-outer4-inner4"
DELETES = "delete-subscriber"
TWO_PORTS = "two-ports"


# ---- helpers ----

def _edit(folder, change):
    """Rewrites case.json."""
    file = folder / "case.json"
    document = json.loads(file.read_text())
    change(document)
    file.write_text(json.dumps(document))


def _frames(file):
    data, at, frames = file.read_bytes(), 24, []
    while at < len(data):
        size = struct.unpack_from("<I", data, at + 8)[0]
        frames.append(bytearray(data[at + 16:at + 16 + size]))
        at += 16 + size
    return frames


def _store(file, frames):
    head = file.read_bytes()[:24]
    file.write_bytes(head + b"".join(struct.pack("<IIII", 0, 0, len(f), len(f)) + f for f in frames))


def _fails(tools, folder, *words, code=1, arguments=()):
    """scripts/replay ends with this code and says all of the words; its output."""
    got, out, err = tools.replay(*arguments, folder)
    said = out + err
    expect(got == code, f"exit code {got}, expected {code}:\n{said}")
    for word in words:
        expect(word in said, f"{word!r} is not in what it said:\n{said}")
    if folder.exists():
        expect(out.splitlines()[-1] == "0 passed, 1 failed", f"last line is {out.splitlines()[-1]!r}")
    return said


def _passes(tools, folder, *arguments):
    code, out, err = tools.replay(*arguments, folder)
    expect(code == 0, f"exit code {code}:\n{out}{err}")
    expect(out.splitlines()[-1] == "1 passed, 0 failed", f"last line is {out.splitlines()[-1]!r}")
    return out


def _spoil(folder, offset):
    """Changes one byte of the third expected frame."""
    file = next(folder.glob("*-expect.pcap"))
    frames = _frames(file)
    frames[2][offset] ^= 1
    _store(file, frames)


# ---- cases that can be read and must fail ----

def a_wrong_byte_is_found(tools):
    """one wrong byte in one expected packet fails the case, and shows the packet decoded"""
    with tools.copy_of(CASE) as folder:
        _spoil(folder, 14 + 8)  # outer TTL
        _fails(tools, folder, "frame 3 is the first that differs", "ttl", "65", "64", "^^",
               "it comes of packet 3 into up0")


def a_missing_packet_is_found(tools):
    """an expected packet that is not sent fails the case, and so does one that is not expected"""
    with tools.copy_of(CASE) as folder:
        file = next(folder.glob("*-expect.pcap"))
        frames = _frames(file)
        _store(file, frames + frames[:1])
        _fails(tools, folder, "8 frames expected, 7 sent", "not sent: ")
        _store(file, frames[:-1])
        _fails(tools, folder, "6 frames expected, 7 sent", "sent, not expected: ")


def order_matters(tools):
    """two expected packets in the wrong order fail the case"""
    with tools.copy_of(CASE) as folder:
        file = next(folder.glob("*-expect.pcap"))
        frames = _frames(file)
        _store(file, [frames[1], frames[0], *frames[2:]])
        _fails(tools, folder, "frame 1 is the first that differs")


def an_unnamed_port_must_be_silent(tools):
    """a port that sends, but that `expect` does not name, fails the case"""
    with tools.copy_of(CASE) as folder:
        _edit(folder, lambda d: d["steps"][1].pop("expect"))
        _fails(tools, folder, "up0", "does not name", "0 frames expected, 7 sent")
    with tools.copy_of(TWO_PORTS) as folder:
        _edit(folder, lambda d: d["steps"][3]["expect"].pop("net0"))
        _fails(tools, folder, "steps[3]", "net0", "does not name")


def steps_are_told_apart(tools):
    """packets expected in the step before or after the one that sends them fail the case"""
    with tools.copy_of(DELETES) as folder:
        def move(document):
            sends = [s for s in document["steps"] if "expect" in s]
            sends[0]["expect"], sends[1]["expect"] = sends[1]["expect"], sends[0]["expect"]
        _edit(folder, move)
        _fails(tools, folder, "steps[")


def counters_are_exact(tools):
    """a counter that is one too high or too low fails the case"""
    with tools.copy_of(CASE) as folder:
        for wrong in (6, 8):
            _edit(folder, lambda d, n=wrong: d["counters"].update({"forwarded.downlink": n}))
            _fails(tools, folder, f"counter forwarded.downlink: 7, expected {wrong}")
        _edit(folder, lambda d: d["counters"].update({"forwarded.downlink": 7, "drop.no_route": 1}))
        _fails(tools, folder, "counter drop.no_route: 0, expected 1")


def other_drops_are_found(tools):
    """with countersExact, a drop counter that the case does not name fails it; without, it does not"""
    with tools.copy_of("not-for-us") as folder:
        _edit(folder, lambda d: d["counters"].pop("drop.not_for_us"))
        _fails(tools, folder, "counter drop.not_for_us: 2, expected 0 (countersExact)")
        _edit(folder, lambda d: d.pop("countersExact"))
        _passes(tools, folder)


def refused_resources_fail(tools):
    """a resource that drd refuses fails the case with drd's reason"""
    with tools.copy_of(CASE) as folder:
        file = folder / "000-apply.json"
        file.write_text(file.read_text().replace("203.0.113.8/29", "203.0.113.9/29"))
        _fails(tools, folder, "steps[0] (apply)", "203.0.113.9/29")


# ---- cases that cannot be read ----

BROKEN = [
    (lambda d: d.pop("steps"), 'top level: "steps" is missing'),
    (lambda d: d.update(ports=[]), "ports: "),
    (lambda d: d["ports"][0].pop("mac"), 'ports[0]: "mac" is missing'),
    (lambda d: d["ports"][0].update(mac="02:00"), "ports[0].mac: "),
    (lambda d: d["ports"][0]["addresses"].append("192.0.2.300/24"), "ports[0].addresses[2]: "),
    (lambda d: d["ports"][0]["routes"][1].update(prefix="::1/0"), "ports[0].routes[1].prefix: "),
    (lambda d: d["steps"][1]["send"].update(up1="001-send.pcap"), "steps[1].send.up1: "),
    (lambda d: d["steps"][1]["send"].update(up0="no.pcap"), "steps[1].send.up0: no such file"),
    (lambda d: d["steps"][1]["send"].update(up0="000-apply.json"), "steps[1].send.up0: "),
    (lambda d: d["steps"][1].update(expects={}), "steps[1].expects: "),
    (lambda d: d["steps"][0].update(apply="no.json"), "steps[0].apply: "),
    (lambda d: d["steps"].append({"delete": {"site": "x"}}), "steps[2].delete.site: "),
    (lambda d: d["steps"].append({}), "steps[2]: "),
    (lambda d: d.update(mask=["outer.ttl"]), "mask[0]: "),
    (lambda d: d["counters"].update({"drop.no_route": "1"}), "counters.drop.no_route: "),
]


def broken_cases_say_where(tools):
    """a case.json that cannot be read ends with exit code 2, and each fault is named by its place"""
    with tools.copy_of(CASE) as folder, tools.folder() as cases:
        for number, (change, _) in enumerate(BROKEN):
            shutil.copytree(folder, cases / f"case-{number}")
            _edit(cases / f"case-{number}", change)
        shutil.copytree(folder, cases / "text")
        (cases / "text" / "case.json").write_text('{"ports": [\n  {"name": }]}')
        code, out, err = tools.replay(cases)
        expect(code == 2, f"exit code {code}")
        expect(out.splitlines()[-1] == f"0 passed, {len(BROKEN) + 1} failed", out)
        for number, (_, place) in enumerate(BROKEN):
            line = f"{cases / f'case-{number}' / 'case.json'}: {place}"
            expect(line in err, f"{line!r} is not in:\n{err}")
        expect(f"{cases / 'text' / 'case.json'}: line 2, column 12: " in err, err)


def unknown_counters_and_folders_are_said(tools):
    """an unknown counter, a cut capture and a folder that is not there end with exit code 2"""
    with tools.copy_of(CASE) as folder:
        capture = folder / "001-send.pcap"
        capture.write_bytes(capture.read_bytes()[:-1])
        _fails(tools, folder, "steps[1].send.up0: ", "ends within packet 7", code=2)
    with tools.copy_of(CASE) as folder:
        _edit(folder, lambda d: d["counters"].update({"drop.no_such_thing": 1}))
        _fails(tools, folder, f"{folder / 'case.json'}: counters.drop.no_such_thing: ", code=2)
    with tools.folder() as folder:
        _fails(tools, folder / "nothing", "no such folder", code=2)
        got, _, err = tools.replay(folder)
        expect(got == 2 and "no case.json" in err, f"exit code {got}: {err}")


def the_others_still_run(tools):
    """a case that cannot be read does not keep the others of the run from being judged"""
    with tools.copy_of(CASE) as folder:
        (folder.parent / "broken").mkdir()
        (folder.parent / "broken" / "case.json").write_text("{}")
        code, out, err = tools.replay(folder.parent)
        expect(code == 2, f"exit code {code}")
        expect(out.splitlines()[-1] == "1 passed, 1 failed", out)
        expect("broken/case.json" in err, err)


def what_the_data_plane_refuses_is_said(tools):
    """ports that only dr-dataplane finds wrong are told with the case's file, exit code 2"""
    with tools.copy_of(CASE) as folder:
        _edit(folder, lambda d: d["ports"][0].update({"mac": "03:00:00:00:00:01"}))
        said = _fails(tools, folder, f"{folder / 'case.json'}: ", "neither multicast nor zero", code=2)
        expect("dataplane-1.json" not in said, f"a file that is gone is named:\n{said}")


def folders_without_a_case_are_passed_over(tools):
    """a folder without a case beside one with a case is named, and the case runs"""
    with tools.copy_of(CASE) as folder:
        (folder.parent / "lib").mkdir()
        code, out, err = tools.replay(folder, folder.parent / "lib")
        expect(code == 0, f"exit code {code}: {err}")
        expect(out.splitlines()[-1] == "1 passed, 0 failed", out)
        expect("lib: no case in it" in err, err)


# ---- what else is promised ----

def masks_hide_what_they_name(tools):
    """a masked field may differ, everything else may not, checksums over it must be right"""
    with tools.copy_of(CASE) as folder:
        file = next(folder.glob("*-expect.pcap"))
        frames = _frames(file)
        for frame in frames:
            frame[34:36] = b"\xc0\x00"  # UDP source port
        _store(file, frames)
        _fails(tools, folder, "sport")
        _edit(folder, lambda d: d.update(mask=["outer.udp.sport"]))
        _passes(tools, folder)
        for frame in frames:
            frame[18:20] = b"\xab\xcd"  # outer identification, its checksum with it
            words = list(struct.unpack(">10H", frame[14:34]))
            words[5] = 0
            total = sum(words)
            total = (total & 0xFFFF) + (total >> 16)
            frame[24:26] = struct.pack(">H", ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF)
        _store(file, frames)
        _fails(tools, folder, "id")
        _edit(folder, lambda d: d.update(mask=["outer.udp.sport", "outer.ipv4.id"]))
        _passes(tools, folder)
        frames[0][24] ^= 1
        _store(file, frames)
        _fails(tools, folder, "chksum")
    with tools.copy_of("downlink-gre-outer6-inner4") as folder:
        file = next(folder.glob("*-expect.pcap"))
        frames = _frames(file)
        for frame in frames:
            frame[16:18] = b"\x12\x34"
        _store(file, frames)
        _fails(tools, folder, "fl")
        _edit(folder, lambda d: d.update(mask=["outer.ipv6.flowlabel"]))
        _passes(tools, folder)


def regen_rewrites_on_purpose(tools):
    """--regen rewrites what differs, says which files, and nothing else changes"""
    with tools.copy_of(CASE) as folder:
        before = {p.name: p.read_bytes() for p in folder.iterdir()}
        _spoil(folder, 14 + 8)
        _edit(folder, lambda d: d["counters"].update({"forwarded.downlink": 3}))
        spoilt = (folder / "case.json").read_bytes()
        said = _fails(tools, folder, "rewrote", "001-expect.pcap", arguments=["--regen"])
        expect("counter forwarded.downlink: 7, expected 3" in said, said)
        expect((folder / "001-expect.pcap").read_bytes() == before["001-expect.pcap"],
               "the expectation is not what was sent")
        expect((folder / "case.json").read_bytes() == spoilt, "case.json was changed without being asked")
        out = _passes(tools, folder, "--regen", "--regen-counters")
        expect("001-expect.pcap" not in out, f"rewrote what did not differ:\n{out}")
        expect(json.loads((folder / "case.json").read_text()) == json.loads(before["case.json"]),
               "case.json is not as it was")
        expect("rewrote" not in _passes(tools, folder, "--regen"), "a second time rewrites again")


def regen_makes_missing_expectations(tools):
    """--regen makes the expectations of a case that has none yet"""
    with tools.copy_of(CASE) as folder:
        (folder / "001-expect.pcap").unlink()
        _fails(tools, folder, "steps[1].expect.up0: ", code=2)
        _passes(tools, folder, "--regen")
        _passes(tools, folder)


def junit_is_written(tools):
    """--junit writes passes, failures and unreadable cases as JUnit XML"""
    with tools.copy_of(CASE) as folder:
        for name, text in (("broken", "{}"), ("wrong", None)):
            (folder.parent / name).mkdir()
            for file in folder.iterdir():
                (folder.parent / name / file.name).write_bytes(file.read_bytes())
            if text:
                (folder.parent / name / "case.json").write_text(text)
        _spoil(folder.parent / "wrong", 50)
        report = folder.parent / "junit.xml"
        code, out, err = tools.replay("--junit", report, folder.parent)
        expect(code == 2, f"exit code {code}:\n{out}{err}")
        suite = ET.parse(report).getroot()
        got = tuple(suite.get(k) for k in ("tests", "failures", "errors"))
        expect(got == ("3", "1", "1"), f"tests, failures, errors are {got}")
        expect(len(suite.findall("testcase")) == 3, "three test cases are due")


def packets_of_two_ports_may_interleave(tools):
    """when two ports receive in one step, a port may send their packets in any interleaving, each
    port's own in order"""
    with tools.copy_of(TWO_PORTS) as folder:
        # Both directions out of one port: the site's packets from acc0 and what net0 brings.
        def both(document):
            step = document["steps"][3]
            document["steps"] = [document["steps"][0], step]
            document.pop("counters")
            access = document["ports"][1]
            document["ports"][0]["routes"] = []
            access["routes"].append({"prefix": "93.184.216.0/24", "via": "198.51.100.7"})
            access["routes"].append({"prefix": "2001:db8:1234::/48", "via": "2001:db8:ff::fe"})
            step["expect"] = {"acc0": "both.pcap"}
        down, up = (_frames(next(folder.glob(f"003-expect-{p}.pcap"))) for p in ("acc0", "net0"))
        for frame in up:  # they leave by acc0, to its gateway
            frame[:12] = bytes.fromhex("0200000000fd020000000002")
        expect(len(up) == 4 and len(down) == 2, "the case has changed")
        file = folder / "both.pcap"
        file.write_bytes(next(folder.glob("003-expect-net0.pcap")).read_bytes()[:24])
        _edit(folder, both)
        for order in (down + up, up + down, [up[0], down[0], up[1], up[2], down[1], up[3]]):
            _store(file, order)
            _passes(tools, folder)
        for order in ([up[1], up[0], *up[2:], *down], [down[1], *up, down[0]]):
            _store(file, order)
            _fails(tools, folder, "differs")


def many_steps_are_possible(tools):
    """a case may have more steps than a pcap port takes files"""
    with tools.copy_of(CASE) as folder:
        def repeat(document):
            document["steps"] += document["steps"][1:] * 19
            document["counters"]["forwarded.downlink"] *= 20
        _edit(folder, repeat)
        _passes(tools, folder)


def nothing_is_left_behind(tools):
    """processes and temporary folders are gone after a run, after a failed one, and after one that
    was interrupted"""
    with tools.copy_of(CASE) as folder, tools.folder() as temporary:
        environment = {**os.environ, "TMPDIR": str(temporary)}

        def left():
            return [p.name for p in temporary.iterdir() if p.name.startswith("dr-replay-")]

        for _ in range(2):
            subprocess.run(tools.replay_command(folder), env=environment, check=False,
                           capture_output=True)
            expect(not left(), f"left: {left()}")
            _spoil(folder, 14 + 8)
        process = subprocess.Popen(tools.replay_command(folder), env=environment,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while not _children(process.pid):
            expect(process.poll() is None and time.monotonic() < deadline, "it started nothing")
            time.sleep(0.01)
        children = _children(process.pid)
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        deadline = time.monotonic() + 10  # the kernel needs a moment to take them down
        while alive := [p for p in children if _is_ours(p, temporary)]:
            expect(time.monotonic() < deadline, f"processes {alive} still run")
            time.sleep(0.01)
        expect(not left(), f"left: {left()}")


def _children(pid):
    found = []
    for task in os.listdir(f"/proc/{pid}/task") if os.path.exists(f"/proc/{pid}/task") else ():
        with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as file:
            found += map(int, file.read().split())
    return found


def _is_ours(pid, temporary):
    try:
        return str(temporary) in os.readlink(f"/proc/{pid}/cwd")
    except OSError:
        return False


CHECKS = [a_wrong_byte_is_found, a_missing_packet_is_found, order_matters,
          an_unnamed_port_must_be_silent, steps_are_told_apart, counters_are_exact,
          other_drops_are_found, refused_resources_fail, broken_cases_say_where,
          unknown_counters_and_folders_are_said,
          what_the_data_plane_refuses_is_said, folders_without_a_case_are_passed_over,
          the_others_still_run, masks_hide_what_they_name, regen_rewrites_on_purpose,
          regen_makes_missing_expectations, junit_is_written, packets_of_two_ports_may_interleave,
          many_steps_are_possible, nothing_is_left_behind]
