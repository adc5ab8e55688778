"""scripts/bench plot RESULTS: a table (speed.md) and a plot (speed.svg) of datapath results.

RESULTS is what `scripts/bench datapath --json RESULTS` wrote; of two lines for one case the later
counts. Peers stand beside ours as they were measured once on the same kind of machine (2.3 GHz TSC).
"""

import argparse
import json
import math

SUBSCRIBERS = [1, 1000, 100_000, 1_000_000]
NAMES = {1: "1", 1000: "1k", 100_000: "100k", 1_000_000: "1M"}
DIRECTIONS = ["downlink", "uplink", "mixed"]
COLOURS = {"downlink": "#0b6fb8", "uplink": "#c2410c", "mixed": "#4d7c0f", "testpmd io": "#666666"}

# TSC cycles per packet by subscribers; what each figure includes is in its name.
PEERS = [
    ("VPP b575ec2, GRE with key, encapsulation, graph nodes only", "#7c3aed",
     {1000: 104, 100_000: 257}),
    ("VPP b575ec2, GRE with key, decapsulation, graph nodes only", "#be185d",
     {1000: 255, 100_000: 944}),
    ("Snabb lwAFTR f327292, both directions, hot packets", "#0f766e",
     {1000: 294, 100_000: 374, 1_000_000: 433}),
    ("XDP GRE program, Linux 6.18, 9.15/2.79/1.82 Mpps", "#a16207",
     {1000: 2300 / 9.15, 100_000: 2300 / 2.79, 1_000_000: 2300 / 1.82}),
]


def load(path: str) -> dict[tuple, dict]:
    cases = {}
    with open(path, encoding="utf-8") as f:
        for number, line in enumerate(f, 1):
            try:
                r = json.loads(line)
            except ValueError as e:
                raise SystemExit(f"bench: {path}:{number}: no JSON: {e}") from None
            if r.get("name") != "datapath":
                continue
            key = (r["packet"], r["encapsulation"], r["outer"], r["inner"], r["direction"],
                   r["subscribers"])
            cases[key] = r
    if not cases:
        raise SystemExit(f"bench: {path}: no result of 'datapath' in it")
    return cases


def order(key: tuple) -> tuple:
    packet, encapsulation, outer, inner, direction, subscribers = key
    return packet, encapsulation, outer, inner, DIRECTIONS.index(direction), subscribers


def table(cases: dict[tuple, dict]) -> str:
    lines = ["| packet | encapsulation | outer/inner | direction | subscribers | Mpps | best | "
             "cycles | testpmd io Mpps | its cycles | ratio | range | core probe |",
             "|---|---|---|---|---:|---:|---:|---:|---:|---:|---:|---|---:|"]
    for key in sorted(cases, key=order):
        r = cases[key]
        lines.append(
            f"| {r['packet']} | {r['encapsulation']} | {r['outer']}/{r['inner']} | {r['direction']} | "
            f"{r['subscribers']:,} | {r['mpps']} | {r['mpps_best']} | {r['cycles_per_packet']} | "
            f"{r['reference_mpps']} | {r['reference_cycles_per_packet']} | **{r['ratio']}** | "
            f"{r['ratio_min']}–{r['ratio_max']} | {r['core_probe']} |")
    return "\n".join(lines) + "\n"


def stage_table(cases: dict[tuple, dict]) -> str:
    measured = [key for key in sorted(cases, key=order) if cases[key].get("stages")]
    names = list(dict.fromkeys(stage for key in measured for stage in cases[key]["stages"]))
    lines = ["| packet | encapsulation | direction | subscribers | " + " | ".join(names) + " |",
             "|---|---|---|---:|" + "---:|" * len(names)]
    for key in measured:
        r = cases[key]
        values = " | ".join(str(r["stages"].get(stage, "")) for stage in names)
        lines.append(f"| {r['packet']} | {r['encapsulation']} | {r['direction']} | "
                     f"{r['subscribers']:,} | {values} |")
    return "\n".join(lines) + "\n" if measured else ""


class Panel:
    """One diagram: subscribers to the right, in equal steps; values upwards."""

    WIDTH, HEIGHT = 330, 250

    def __init__(self, left: float, title: str, ticks: list[float], log: bool):
        self.left, self.top, self.title, self.ticks, self.log = left, 50.0, title, ticks, log
        self.parts: list[str] = []

    def x(self, subscribers: int) -> float:
        step = self.WIDTH / len(SUBSCRIBERS)
        return self.left + step * (SUBSCRIBERS.index(subscribers) + 0.5)

    def y(self, value: float) -> float:
        scale = math.log if self.log else float
        low, high = scale(self.ticks[0]), scale(self.ticks[-1])
        share = (scale(value) - low) / (high - low)
        return self.top + self.HEIGHT * (1 - min(max(share, 0.0), 1.0))

    def frame(self) -> None:
        right, bottom = self.left + self.WIDTH, self.top + self.HEIGHT
        self.text(self.left + self.WIDTH / 2, self.top - 16, self.title, "middle", 14)
        for tick in self.ticks:
            y = self.y(tick)
            self.parts.append(f'<path d="M{self.left} {y:.1f}H{right}" stroke="#dddddd"/>')
            self.text(self.left - 6, y + 4, f"{tick:g}", "end")
        for subscribers in SUBSCRIBERS:
            self.text(self.x(subscribers), bottom + 18, NAMES[subscribers], "middle")
        self.text(self.left + self.WIDTH / 2, bottom + 36, "subscribers, two tunnels each", "middle")

    def text(self, x: float, y: float, words: str, anchor: str = "start", size: int = 12) -> None:
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" '
                          f'font-size="{size}">{words}</text>')

    def line(self, points: dict[int, float], colour: str, dash: str = "") -> None:
        at = [(self.x(n), self.y(v), v) for n, v in sorted(points.items()) if n in SUBSCRIBERS]
        path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y, _ in at)
        style = f' stroke-dasharray="{dash}"' if dash else ""
        self.parts.append(f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="2"{style}/>')
        for x, y, value in at:
            self.parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}">'
                              f"<title>{value:.3g}</title></circle>")


def series(cases: dict[tuple, dict], shape: tuple, direction: str, field: str) -> dict[int, float]:
    return {key[5]: r[field] for key, r in cases.items() if key[:4] == shape and key[4] == direction}


def plot(cases: dict[tuple, dict], shape: tuple) -> str:
    ratio = Panel(60, "packets per second / testpmd io's", [0, 0.2, 0.4, 0.6, 0.8, 1], log=False)
    cycles = Panel(470, "TSC cycles per packet", [25, 50, 100, 200, 400, 800, 1600], log=True)
    legend = []
    for panel in (ratio, cycles):
        panel.frame()
    for direction in DIRECTIONS:
        values = series(cases, shape, direction, "ratio")
        if not values:
            continue
        colour = COLOURS[direction]
        ratio.line(values, colour)
        cycles.line(series(cases, shape, direction, "cycles_per_packet"), colour)
        cycles.line(series(cases, shape, direction, "reference_cycles_per_packet"), colour, "2 4")
        legend.append((f"{direction}, all checks, receive and transmit included", colour, ""))
    legend.append(("testpmd io on the same source, of the same colour", COLOURS["testpmd io"], "2 4"))
    for name, colour, values in PEERS:
        cycles.line(values, colour, "7 4")
        legend.append((name, colour, "7 4"))
    top, parts = 370.0, ratio.parts + cycles.parts
    for number, (name, colour, dash) in enumerate(legend):
        x, y = 60 + 410 * (number % 2), top + 20 * (number // 2)
        parts.append(f'<path d="M{x} {y - 4}h26" stroke="{colour}" stroke-width="2" '
                     f'stroke-dasharray="{dash or "none"}"/>')
        parts.append(f'<text x="{x + 32}" y="{y}" font-size="11">{name}</text>')
    height = top + 20 * math.ceil(len(legend) / 2)
    packet, encapsulation, outer, inner = shape
    what = f"one core, {packet}-byte packets" if packet != "imix" else "one core, IMIX"
    parts.append(f'<text x="430" y="18" text-anchor="middle" font-size="15">{what}, {encapsulation}, '
                 f"IPv{inner} in IPv{outer}</text>")
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 860 {height:.0f}" '
            f'font-family="sans-serif" fill="#222222">\n'
            f'<rect width="860" height="{height:.0f}" fill="white"/>\n' + "\n".join(parts) +
            "\n</svg>\n")


def document(cases: dict[tuple, dict]) -> str:
    text = ("# Speed\n\nMade by `scripts/bench plot RESULTS` from the results of `sudo scripts/bench "
            "datapath --json RESULTS`,\nwhose help says how it measures. [tuning.md](tuning.md) says how to "
            "read it, and where the time goes.\n\n![cycles and ratios](speed.svg)\n\n" + table(cases))
    per_stage = stage_table(cases)
    if per_stage:
        text += ("\n## Cycles per packet of each stage\n\nFrom a run of its own, because reading the "
                 "clock costs too,\nand so at another moment: to be compared with each other, not with "
                 "the sums above.\n\n" + per_stage)
    return text


def main(arguments: list[str], _build: str) -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench plot", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", metavar="RESULTS", help="JSON lines")
    parser.add_argument("--directory", default="docs", help="where to write (default: docs)")
    parser.add_argument("--packet", choices=["64", "imix"], default="64", help="of the plot")
    parser.add_argument("--encapsulation", choices=["gre", "gre-udp"], default="gre-udp",
                        help="of the plot")
    options = parser.parse_args(arguments)
    cases = load(options.results)
    shape = (options.packet, options.encapsulation, 4, 4)
    if not any(key[:4] == shape for key in cases):
        raise SystemExit(f"bench: {options.results}: nothing to plot for {options.packet}, "
                         f"{options.encapsulation}, IPv4 in IPv4; try --packet or --encapsulation")
    for name, content in (("speed.md", document(cases)), ("speed.svg", plot(cases, shape))):
        with open(f"{options.directory}/{name}", "w", encoding="utf-8") as f:
            f.write(content)
        print(f"{options.directory}/{name}")
    return 0
