"""scripts/bench keepalive: what keepalives cost, and what they survive; JSON lines.

Without an option: nanoseconds for a keepalive received and verified, and for one sent. Both ends are
the engine itself, without sockets; the capacity is what one core could do of it alone.

  --soak     simulated URs against the real dr-dataplane: tunnels that go down without a reason
  --restart  kill -9 of dr-dataplane and of drd under simulated URs
  --flood    forged and replayed keepalives at the full rate of a port, beside data and live tunnels
"""

import argparse
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "swarm"))

TUNNELS = {"cost": 100_000, "soak": 20_000, "restart": 2_000, "flood": 2_000}
SECONDS = {"cost": 5, "soak": 600, "restart": 10, "flood": 10}
DATA = {"cost": 0, "soak": 5_000, "restart": 40_000, "flood": 2_000}


def cost(build: str, _work: str, options, emit) -> int:
    run = subprocess.run([f"{build}/tests/bench/keepalive_cost", str(options.tunnels),
                          str(options.seconds)], stdout=subprocess.PIPE, text=True, check=False)
    for line in run.stdout.splitlines():
        emit(line)
    return run.returncode


def part_of(name: str):
    if name == "cost":
        return cost
    if os.geteuid() != 0:
        raise SystemExit("bench: needs root for DPDK memory; try sudo scripts/bench keepalive")
    import swarm_lab  # noqa: F401, puts the modules of scripts/ on the path
    return __import__(f"keepalive_{name}").run


def main(argv: list[str], build: str) -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench keepalive", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group()
    for name in ("soak", "restart", "flood"):
        what.add_argument(f"--{name}", dest="part", action="store_const", const=name, default="cost")
    parser.add_argument("--tunnels", type=int, help="two for each UR; even")
    parser.add_argument("--per-second", type=int, choices=(10, 5, 2), default=10,
                        help="keepalives in each tunnel and direction: profile fixed, mobile, metered")
    parser.add_argument("--seconds", type=float,
                        help="of the soak; of each sample of the flood; without drd before the cut")
    parser.add_argument("--data", type=int, help="data packets a second in each direction")
    parser.add_argument("--rounds", type=int, default=3, help="of restart and flood")
    parser.add_argument("--start-rate", type=int, default=5_000, help="tunnels started in a second")
    parser.add_argument("--kind", dest="kinds", action="append", metavar="KIND",
                        help="of forgery for the flood; by default all of them mixed")
    parser.add_argument("--no-huge", dest="huge", action="store_false",
                        help="small pages for the flood's data plane")
    parser.add_argument("--json", metavar="FILE", help="also write the lines there")
    options = parser.parse_args(argv)
    options.tunnels = options.tunnels or TUNNELS[options.part]
    options.seconds = options.seconds or SECONDS[options.part]
    options.data = DATA[options.part] if options.data is None else options.data
    if options.tunnels < 2 or options.tunnels % 2:
        parser.error(f"--tunnels: must be even and at least 2, not {options.tunnels}")
    lines = []

    def emit(line: str) -> None:
        print(line, flush=True)
        lines.append(line + "\n")

    with tempfile.TemporaryDirectory(prefix="dr-bench-") as work:
        status = part_of(options.part)(build, work, options, emit)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as f:
            f.writelines(lines)
    return status
