"""scripts/bench keepalive: nanoseconds for a keepalive received and verified, and for one sent.

Both ends are the engine itself, without sockets; the capacity is what one core could do of it alone.
"""

import argparse
import subprocess
import sys


def main(argv: list[str], build: str) -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench keepalive", description=__doc__)
    parser.add_argument("--tunnels", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--json", metavar="FILE", help="also write the lines there")
    options = parser.parse_args(argv)
    run = subprocess.run([f"{build}/tests/bench/keepalive_cost", str(options.tunnels),
                          str(options.seconds)], stdout=subprocess.PIPE, text=True, check=False)
    sys.stdout.write(run.stdout)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as f:
            f.write(run.stdout)
    return run.returncode
