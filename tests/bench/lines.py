"""scripts/bench lines: what passes on the kinds of lines that people have, and whether it stays there.

A lab of network namespaces for each kind: the real dr-dataplane, drd and urd, a link emulator in each
line. In each: one file each way by TCP in both families, checksums compared; UDP datagrams that may
not be fragmented, up to the largest that both ends say fits; TCP that saturates both directions for a
minute. `false_changes`: how often a line went down, was degraded, or was chosen or left; on a line that
works that is 0. Needs root.

Prints JSON lines: for each kind four named "lines" (a family and a direction each), and one named
"lines.kind" with the rest of its row in docs/lines.md.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

import line_kinds
from lablib import switching, ur
from lablib.lab import may_use_namespaces, temporary_lab
from lablib.process import Process
from lablib.shell import LabError, wait_until
from lablib.traffic import FileServer, download

DOC = Path(__file__).resolve().parents[2] / "docs" / "lines.md"
MARK = "<!-- lines -->"
END = "<!-- end of lines -->"
# Of a change of line, or of what leads to one.
BLAMES = ("state", "degraded", "eligible")
UDP_PORT = 9021
DATAGRAMS = 200
IPERF_PORT = 5201


def newest_event(lab):
    events = lab.router.drcli_json("event", "list", "--limit", "1")
    return max((e["id"] for e in events), default=0)


def changes(lab, since):
    return sum(e["id"] > since for kind in BLAMES
               for e in lab.router.drcli_json("event", "list", "--kind", kind))


def files(lab, mebibytes, seconds):
    """{way: Mbit/s}; None: not whole within `seconds`."""
    servers = {node: FileServer(lab, node, mebibytes=mebibytes) for node in ("inet", "lan1")}
    results = {}
    for name, source, address, destination, _ in line_kinds.ends(lab):
        began = time.monotonic()
        try:
            size = download(lab, destination, servers[source], address, seconds=seconds)
            results[name] = round(size * 8 / 1e6 / (time.monotonic() - began), 1)
        except LabError as error:
            print(f"bench lines: {name}: {error}", file=sys.stderr)
            results[name] = None
    return results


def datagrams(lab, source, destination, address, sizes):
    """{size of the IP packet: how many of DATAGRAMS arrived}, with DF."""
    header = 48 if ":" in address else 28
    receiver = Process.start(
        f"datagrams at {destination}",
        lab.net[destination].command(["/usr/bin/python3", "-c", RECEIVE, UDP_PORT]),
        lab.directory / f"datagrams-{destination}.log", ready="listening")
    try:
        for size in sizes:
            lab.net[source].run(["/usr/bin/python3", "-c", SEND, address, UDP_PORT, size - header,
                                 DATAGRAMS], check=False)
        time.sleep(1)  # what is still on its way
        receiver.send(2)
        wait_until(lambda: not receiver.alive(), "the receiver's end")
        seen = json.loads(receiver.output().splitlines()[-1])
    finally:
        receiver.stop()
    return {size: seen.get(str(size - header), 0) for size in sizes}


def udp(lab, line):
    """{"mtu": the largest inner packet, "udp_df": the share of datagrams that arrived}."""
    most = ur.tunnel(lab, line)["pathMtu"]
    sizes = [200, 600, 1000, 1200, most]
    arrived = [n for _, source, _, destination, address in line_kinds.ends(lab)
               for n in datagrams(lab, source, destination, address, sizes).values()]
    return {"mtu": most, "udp_df": round(sum(arrived) / (len(arrived) * DATAGRAMS), 4)}


def saturate(lab, seconds):
    """Four TCP connections each way at once; Mbit/s that arrived each way."""
    site = lab.sites[0]
    servers, clients = [], []
    try:
        for port in (IPERF_PORT, IPERF_PORT + 1):
            servers.append(Process.start(
                f"iperf3 {port}", lab.net["lan1"].command(["iperf3", "-s", "-1", "--forceflush",
                                                         "-p", port]),
                lab.directory / f"iperf-{port}.log",
                ready=f"Server listening on {port} (test #1)"))
        for port, more in ((IPERF_PORT, []), (IPERF_PORT + 1, ["-R"])):
            command = lab.net["inet"].command(["iperf3", "-J", "-c", site.lan4, "-p", port, "-P", 4,
                                               "-t", seconds, *more])
            clients.append(subprocess.Popen([str(c) for c in command], stdout=subprocess.PIPE,
                                            text=True))
        rates = []
        for client in clients:
            report = json.loads(client.communicate(timeout=seconds + 60)[0])
            received = report.get("end", {}).get("sum_received", {})
            rates.append(round(received.get("bits_per_second", 0) / 1e6, 1))
        return {"saturated_down": rates[0], "saturated_up": rates[1]}
    finally:
        for client in clients:
            if client.poll() is None:
                client.kill()
                client.wait()
        for server in servers:
            server.stop()


def find_mtu_ms(lab, line):
    """From the line's coming up, as the DR saw it, to the size that both directions have."""
    def times(kind):
        return [event_time(e) for e in lab.router.drcli_json("event", "list", "--kind", kind, "--line", line)
                if kind != "state" or e.get("to") == "UP"]
    return round((max(times("path-mtu")) - min(times("state"))) * 1000, 1)


def event_time(event):
    return datetime.fromisoformat(event["at"].replace("Z", "+00:00")).timestamp()


def records(row):
    """One object for each file, as others read them."""
    for family in (4, 6):
        for direction, way in (("downlink", "down"), ("uplink", "up")):
            mbit_s = row[f"{way}{family}"]
            yield {"name": "lines", "line_kind": row["line_kind"], "family": family, "direction": direction,
                   "complete": mbit_s is not None, "mbit_s": mbit_s or 0.0,
                   "find_mtu_ms": row["find_mtu_ms"], "false_changes": row["false_changes"]}
    yield row


def measure(kind, options):
    with temporary_lab(bring_up=False, emulated=True,
                       signalled=line_kinds.signalled(kind)) as lab:
        lab.create_network()
        kind.apply(lab)
        lab.bring_up_programs()
        switching.wait_up(lab)
        ur.wait_carries(lab, kind.line)
        since = newest_event(lab)
        mebibytes = max(1, options.mebibytes // (4 if kind.slow else 1))
        result = {"name": "lines.kind", "line_kind": kind.name, "mebibytes": mebibytes}
        result |= files(lab, mebibytes, options.longest)
        result["find_mtu_ms"] = find_mtu_ms(lab, kind.line)
        result |= udp(lab, kind.line)
        result |= saturate(lab, options.seconds)
        result["false_changes"] = changes(lab, since)
        return result


def cell(value):
    return "**failed**" if value is None else f"{value:g}"


def table(results):
    """The table of docs/lines.md."""
    rows = ["| line | MTU | TCP down, IPv4 / IPv6 | TCP up, IPv4 / IPv6 | UDP with DF | saturated, "
            "down / up | changes |", "|---|---:|---:|---:|---:|---:|---:|"]
    for r in results:
        what = line_kinds.BY_NAME[r["line_kind"]].what
        rows.append(f"| {what} | {r['mtu']} | {cell(r['down4'])} / {cell(r['down6'])} | "
                    f"{cell(r['up4'])} / {cell(r['up6'])} | {100 * r['udp_df']:.1f} % | "
                    f"{r['saturated_down']:g} / {r['saturated_up']:g} | {r['false_changes']} |")
    return "\n".join(rows)


def refresh(results):
    text = DOC.read_text(encoding="utf-8")
    new = re.sub(f"{MARK}.*{END}", lambda _: f"{MARK}\n{table(results)}\n{END}", text, flags=re.S)
    DOC.write_text(new, encoding="utf-8")


def tell(objects, path):
    lines = [json.dumps(each) for each in objects]
    print("\n".join(lines), flush=True)
    if path:
        with open(path, "a", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")


def main(argv: list[str], build: str) -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench lines", description=__doc__)
    parser.add_argument("--kind", action="append", choices=list(line_kinds.BY_NAME),
                        help="one of several; default: all")
    parser.add_argument("--mebibytes", type=int, default=96,
                        help="of each file; a quarter on slow lines (default 96)")
    parser.add_argument("--seconds", type=int, default=60, help="of saturation (default 60)")
    parser.add_argument("--longest", type=int, default=180, metavar="SECONDS",
                        help="a file may take (default 180)")
    parser.add_argument("--refresh", action="store_true", help="write the table of docs/lines.md")
    parser.add_argument("--json", metavar="FILE", help="append the JSON lines to FILE")
    options = parser.parse_args(argv)
    os.environ["DR_BUILD"] = build
    why = may_use_namespaces()
    if why:
        print(f"bench lines: error: {why}; run it as root", file=sys.stderr)
        return 2
    results = []
    for name in options.kind or line_kinds.BY_NAME:
        results.append(measure(line_kinds.BY_NAME[name], options))
        tell(records(results[-1]), options.json)
    if options.refresh:
        refresh(results)
    return 0


# Prints {payload size: how many} at SIGINT.
RECEIVE = """
import collections, json, signal, socket, sys
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, 33, 4 << 20)
s.bind(("::", int(sys.argv[1])))
seen = collections.defaultdict(set)
def end(*_):
    print(json.dumps({size: len(numbers) for size, numbers in seen.items()}), flush=True)
    sys.exit(0)
signal.signal(signal.SIGINT, end)
print("listening", flush=True)
while True:
    data = s.recv(2048)
    seen[len(data)].add(data[:4])
"""
# Numbered datagrams with DF (IP_PMTUDISC_DO), a thousand a second.
SEND = """
import socket, sys, time
address, port, size, count = sys.argv[1], *map(int, sys.argv[2:])
v6 = ":" in address
s = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(*((socket.IPPROTO_IPV6, 23, 2) if v6 else (socket.IPPROTO_IP, 10, 2)))
s.connect((address, port))
for number in range(count):
    try:
        s.send(number.to_bytes(4, "big") + bytes(size - 4))
    except OSError:
        pass
    time.sleep(0.001)
"""
