"""Of the fixtures, without running anything of the product."""

import importlib.util
import json
import re
import subprocess

from .tools import Failed, expect

EXIT = re.compile(r'^X\((\w+), "([^"]+)"', re.MULTILINE)
NOT_HERE = "exits-not-here.json"


def the_generator_makes_exactly_the_committed_cases(tools):
    """pcap-fixtures/generate makes exactly the committed cases, byte for byte"""
    with tools.folder() as into:
        done = subprocess.run([str(tools.fixtures / "generate"), "--into", str(into)],
                              capture_output=True, text=True, check=False)
        expect(done.returncode == 0, done.stderr)
        made = {p.relative_to(into): p.read_bytes() for p in into.rglob("*") if p.is_file()}
    committed = {p.relative_to(tools.fixtures): p.read_bytes()
                 for folder in tools.case_folders() for p in folder.iterdir()}
    differing = sorted({*made, *committed} - {p for p in made if made[p] == committed.get(p)})
    expect(made, "the generator made nothing")
    expect(not differing, "differ: " + ", ".join(map(str, differing[:20])) +
           "; run pcap-fixtures/generate and look at the difference")


def _covered(tools):
    covered = set()
    for folder in tools.case_folders():
        case = json.loads((folder / "case.json").read_text())
        for key in ("counters", "countersAtLeast"):
            covered |= {name for name, value in case.get(key, {}).items() if value > 0}
    return covered


def every_exit_has_a_case(tools):
    """every exit of the pipeline is counted by a case, or tests/replay/exits-not-here.json says why
    a pcap port cannot have it and which other test names it, if any"""
    identifiers = {name: identifier for identifier, name in
                   EXIT.findall((tools.root / "dataplane/worker/exits.def").read_text())}
    exits = list(identifiers)
    listed = json.loads((tools.root / "tests/replay" / NOT_HERE).read_text())
    covered = _covered(tools)
    expect(len(exits) > 10, "dataplane/worker/exits.def could not be read")
    missing = [e for e in exits if e not in covered and e not in listed]
    expect(not missing, f"no case counts {', '.join(missing)}")
    double = [e for e in listed if e in covered]
    expect(not double, f"{NOT_HERE} lists {', '.join(double)}, but a case covers it")
    unknown = [e for e in {*listed, *covered} if e not in exits and not e.startswith("port.")]
    expect(not unknown, f"no such exit: {', '.join(unknown)}")
    bare = [e for e, entry in listed.items() if not entry.get("reason") or "covered_by" not in entry]
    expect(not bare, f"{NOT_HERE}: reason or covered_by is missing for {', '.join(bare)}")
    for name, entry in listed.items():
        if entry["covered_by"] is not None:
            file = tools.root / entry["covered_by"]
            text = file.read_text() if file.is_file() else ""
            expect(name in text or identifiers[name] in text,
                   f"{NOT_HERE}: {entry['covered_by']} does not name {name}")


def the_python_statement_agrees_with_the_vectors(tools):
    """the fixtures' own flow hash, seed and bucket map give every published test vector"""
    spec = importlib.util.spec_from_file_location("flow", tools.fixtures / "lib" / "flow.py")
    flow = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(flow)
    document = json.loads((tools.root / "proto" / "tunnel_vectors.json").read_text())
    expect(len(document["vectors"]) >= 20, "fewer than 20 vectors")
    for vector in document["vectors"]:
        hashed = flow.flow_hash(bytes.fromhex(vector["packet"]), vector["seed"])
        got = (hashed, flow.bucket(hashed), flow.source_port(hashed), flow.label(hashed))
        want = tuple(vector[k] for k in ("hash", "bucket", "sourcePort", "flowLabel"))
        expect(got == want, f"{vector['what']}: {got}, published {want}")
    for published in document["maps"]:
        tier = list(enumerate(published["weights"]))
        got = "".join(f"{line:x}" for line in flow.bucket_map([tier], set(published["eligible"])))
        expect(got == published["map"], f"map of {published['weights']}, {published['eligible']}")
    for name, seed in document["seeds"].items():
        expect(flow.default_seed(name) == seed, f"seed of {name!r}")


# Deliberately broken upper layers, which must go through as they are.
BROKEN_INSIDE = ("mss-broken-options", "ipv6-broken-chains")


def _sound_captures(tools):
    """What the DR sends, and what is sent to it in cases where it drops nothing."""
    for folder in tools.case_folders():
        if folder.name in BROKEN_INSIDE:
            continue
        yield from folder.glob("*-expect*.pcap")
        counters = json.loads((folder / "case.json").read_text()).get("counters", {})
        if counters and not any(name.startswith("drop.") for name in counters):
            yield from folder.glob("*-send*.pcap")


def tunnel_packets_decode_cleanly_in_tshark(tools):
    """every tunnel packet decodes in tshark as GRE with key and an inner IP packet, without
    complaint"""
    files = sorted(_sound_captures(tools))
    expect(len(files) > 50, f"only {len(files)} captures found")
    tunnels = 0
    with tools.folder() as folder:
        merged = folder / "all.pcap"
        done = subprocess.run(["mergecap", "-a", "-F", "pcap", "-w", str(merged), *map(str, files)],
                              capture_output=True, text=True, check=False)
        expect(done.returncode == 0, done.stderr)
        # Defragmentation across cases would mix packets that have nothing to do with each other.
        done = subprocess.run(
            ["tshark", "-r", str(merged), "-d", "udp.port==4754,gre", "-d", "udp.port==40777,gre",
             "-o", "ip.defragment:FALSE", "-o", "ipv6.defragment:FALSE", "-o", "ip.check_checksum:TRUE",
             # RFC 6935: the tunnels' own ports may carry a zero checksum over IPv6.
             "-o", "udp.ignore_ipv6_zero_checksum:TRUE",
             "-o", "tcp.analyze_sequence_numbers:FALSE", "-2", "-T", "fields",
             "-e", "frame.number", "-e", "gre.key", "-e", "ip.version", "-e", "ipv6.version",
             "-e", "_ws.malformed", "-e", "_ws.expert.message", "-e", "_ws.expert.severity",
             "-e", "frame.protocols"],
            capture_output=True, text=True, check=False)
        expect(done.returncode == 0, done.stderr)
    complaints = []
    for line in done.stdout.splitlines():
        number, key, four, six, malformed, message, severity, protocols = line.split("\t")[:8]
        versions = len([v for v in (four + "," + six).split(",") if v])
        if "gre" in protocols.split(":"):
            tunnels += 1
            if not key or versions < 2:
                complaints.append(f"frame {number}: no key or no inner packet: {protocols}")
        errors = [s for s in severity.split(",") if s and int(s) >= 0x800000]
        if malformed or errors:
            complaints.append(f"frame {number}: {protocols}: {malformed} {message}")
    expect(tunnels > 500, f"only {tunnels} tunnel packets found")
    if complaints:
        raise Failed("\n".join(complaints[:20]))


CHECKS = [the_generator_makes_exactly_the_committed_cases, every_exit_has_a_case,
          the_python_statement_agrees_with_the_vectors,
          tunnel_packets_decode_cleanly_in_tshark]
