#!/usr/bin/python3
"""scripts/sim plot RESULTS...: docs/keepalive.svg, and the table in docs/keepalive.md.

RESULTS are files of the simulator's JSON lines. Parts of a run (one scenario, detector and profile, different
seeds) are added up; of detection times the longest of the parts is shown.
"""

import argparse
import json
import math
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DETECTORS = {"ours": "#0b6fb8", "bird-100x5": "#c2410c", "frr-300x3": "#4d7c0f",
             "plain-1000x3": "#7c3aed"}
SUMS = ["downs", "false_down", "detections", "undetected", "path_changes",
        "path_changes_after_warmup", "last_usable_removed", "without_path_s"]
MOST = ["detect_p50_ms", "detect_p99_ms", "detect_max_ms", "most_path_changes_in_an_hour",
        "most_after_warmup_in_an_hour"]


def load(paths):
    """Cases by (scenario, detector), parts added up."""
    parts = {}
    for path in paths:
        with open(path, encoding="utf-8") as f:
            for number, line in enumerate(f, 1):
                try:
                    r = json.loads(line)
                except ValueError as e:
                    raise SystemExit(f"sim: {path}:{number}: no JSON: {e}") from None
                if r.get("name") == "sim":
                    key = (r["scenario"], r["detector"], r.get("profile", ""))
                    # The same part once more: the later one counts.
                    parts.setdefault(key, {})[r["seed"], r["tunnels"], r["hours"]] = r
    if not parts:
        raise SystemExit("sim: no result of 'sim' in what was given")
    return {key: add(list(some.values())) for key, some in parts.items()}


def add(parts):
    whole = {name: sum(p[name] for p in parts) for name in SUMS}
    for name in MOST:
        known = [p[name] for p in parts if p[name] is not None]
        whole[name] = max(known) if known else None
    whole["tunnels"] = sum(p["tunnels"] for p in parts)
    whole["tunnel_hours"] = sum(p["tunnels"] * p["hours"] for p in parts)
    whole["subscriber_hours"] = sum(p["subscribers"] * p["hours"] for p in parts)
    whole["late_hours"] = sum(p["subscribers"] * (p["hours"] - p["warmup_minutes"] / 60)
                              for p in parts)
    hours = {p["hours"] for p in parts}
    whole["hours"] = f"{min(hours):g}" if len(hours) == 1 else f"{min(hours):g}–{max(hours):g}"
    return whole


def order(key):
    names = list(DETECTORS)
    return key[0], names.index(key[1]) if key[1] in names else len(names), key


def rate(value):
    return "0" if value == 0 else f"{value:.2g}" if value < 10 else f"{value:,.0f}"


def table(cases):
    rows = ["| scenario | detector | tunnels × hours | false DOWN | of 1,000 tunnels a day | "
            "changes of the path, a subscriber and hour | after warm-up | most in an hour | "
            "detection p50 / p99 / max, ms | no path, s |",
            "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|"]
    for key in sorted(cases, key=order):
        c = cases[key]
        times = [c["detect_p50_ms"], c["detect_p99_ms"], c["detect_max_ms"]]
        detection = " / ".join(f"{t:,.0f}" for t in times) if times[0] is not None else ""
        name = f"**ours**, {key[2]}" if key[1] == "ours" else key[1]
        rows.append(
            f"| {key[0]} | {name} | {c['tunnels']:,} × {c['hours']} | {c['false_down']:,} | "
            f"{rate(c['false_down'] / c['tunnel_hours'] * 24000)} | "
            f"{rate(c['path_changes'] / c['subscriber_hours'])} | "
            f"{rate(c['path_changes_after_warmup'] / c['late_hours'])} | "
            f"{c['most_path_changes_in_an_hour']} | {detection} | {c['without_path_s']:,.1f} |")
    removed = sum(c["last_usable_removed"] for c in cases.values())
    return "\n".join(rows) + f"\n\nThe last usable line was removed {removed} times in all of them.\n"


class Panel:
    """Bars of the detectors for each scenario, upwards on a logarithmic scale; 0 is written."""

    HEIGHT, BAR, TOP = 200, 15, 60

    def __init__(self, left, title, ticks, scenarios):
        self.left, self.title, self.ticks, self.scenarios = left, title, ticks, scenarios
        self.group = self.BAR * len(DETECTORS) + 28
        self.width = self.group * len(scenarios)

    def y(self, value):
        low, high = math.log(self.ticks[0]), math.log(self.ticks[-1])
        share = (math.log(max(value, self.ticks[0])) - low) / (high - low)
        return self.TOP + self.HEIGHT * (1 - min(share, 1.0))

    def draw(self, value_of):
        bottom, right = self.TOP + self.HEIGHT, self.left + self.width
        parts = [text(self.left + self.width / 2, self.TOP - 18, self.title, "middle", 13)]
        for tick in self.ticks:
            y = self.y(tick)
            parts.append(f'<path d="M{self.left} {y:.1f}H{right}" stroke="#dddddd"/>')
            parts.append(text(self.left - 5, y + 4, f"{tick:,g}", "end", 10))
        for s, scenario in enumerate(self.scenarios):
            start = self.left + s * self.group + 14
            parts.append(text(start + self.BAR * len(DETECTORS) / 2, bottom + 16, scenario,
                              "middle", 10))
            for d, (name, colour) in enumerate(DETECTORS.items()):
                value = value_of(scenario, name)
                if value is None:
                    continue
                x, y = start + d * self.BAR, self.y(value)
                if value == 0:
                    parts.append(text(x + self.BAR / 2, bottom - 3, "0", "middle", 11, colour))
                    continue
                y = min(y, bottom - 1.5)
                parts.append(f'<rect x="{x}" y="{y:.1f}" width="{self.BAR - 2}" '
                             f'height="{bottom - y:.1f}" fill="{colour}">'
                             f"<title>{scenario}, {name}: {value:.3g}</title></rect>")
        return parts


def text(x, y, words, anchor, size, colour="#222222"):
    return (f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" '
            f'fill="{colour}">{words}</text>')


def plot(cases):
    def value(field):
        def of(scenario, detector):
            for (name, which, _), c in cases.items():
                if (name, which) == (scenario, detector):
                    return field(c)
            return None
        return of

    def present(*names):
        return [n for n in names if any(key[0] == n for key in cases)]

    one = Panel(50, "false DOWN of 1,000 tunnels a day", [1, 100, 1e4, 1e6, 1e8],
                present("loss-5", "lte-delay", "bursts-400", "bursts-mean-400"))
    two = Panel(one.left + one.width + 60, "changes of the path, a subscriber and hour",
                [0.1, 1, 10, 100, 1000], present("bursts-mean-400", "flap-30", "return"))
    three = Panel(two.left + two.width + 60, "time to find a cut, p99, ms",
                  [100, 300, 1000, 3000], present("cut", "cut-one-way", "bursts-cut"))
    parts = one.draw(value(lambda c: c["false_down"] / c["tunnel_hours"] * 24000))
    parts += two.draw(value(lambda c: c["path_changes"] / c["subscriber_hours"]))
    parts += three.draw(value(lambda c: c["detect_p99_ms"]))
    for d, (name, colour) in enumerate(DETECTORS.items()):
        x = 60 + 150 * d
        parts.append(f'<rect x="{x}" y="296" width="12" height="12" fill="{colour}"/>')
        parts.append(text(x + 18, 306, name, "start", 12))
    width = three.left + three.width + 15
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} 320" '
            f'font-family="sans-serif">\n<rect width="{width}" height="320" fill="white"/>\n'
            + "\n".join(parts) + "\n</svg>\n")


def main():
    parser = argparse.ArgumentParser(prog="scripts/sim plot", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", metavar="RESULTS", nargs="+", help="JSON lines")
    parser.add_argument("--directory", type=Path, default=ROOT / "docs",
                        help="where keepalive.md and keepalive.svg are (default: docs)")
    options = parser.parse_args()
    cases = load(options.results)
    page = options.directory / "keepalive.md"
    marks = r"(<!-- results -->\n).*(<!-- end of results -->)"
    before = page.read_text(encoding="utf-8") if page.exists() else "<!-- results -->\n<!-- end of results -->\n"
    after, found = re.subn(marks, lambda m: m[1] + "\n" + table(cases) + "\n" + m[2], before,
                           flags=re.DOTALL)
    if not found:
        raise SystemExit(f"sim: {page}: no '<!-- results -->' and '<!-- end of results -->' in it")
    page.write_text(after, encoding="utf-8")
    (options.directory / "keepalive.svg").write_text(plot(cases), encoding="utf-8")
    print(f"{page}\n{options.directory / 'keepalive.svg'}")


if __name__ == "__main__":
    main()
