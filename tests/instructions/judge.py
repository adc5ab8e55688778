"""Compares instruction counts with the baseline's, by its margins."""

import math

ENCAPSULATIONS = {"gre": "GRE", "gre-udp": "GRE-in-UDP"}


def title(case):
    text = (f"{case['direction']} {ENCAPSULATIONS[case['encapsulation']]} over "
            f"IPv{case['outer']}, inner IPv{case['inner']}")
    return text if case["burst"] == 64 else f"{text}, bursts of {case['burst']}"


def figures(case):
    """{name: instructions a packet} of all that is kept of a case.

    Bursts that are not full are there for what a burst costs as a whole.
    """
    whole = {"all stages": case["instructions_per_packet"]}
    if case["burst"] != 64:
        return whole
    return {f"stage {name}": count for name, count in case["stages"].items()} | whole


def limit(name, expected, margin):
    """The largest count that passes, rounded up to a tenth."""
    if name == "all stages":
        most = expected * (1 + margin["all_percent"] / 100)
    else:
        most = max(expected * (1 + margin["stage_percent"] / 100),
                   expected + margin["stage_instructions"])
    return math.ceil(round(most * 10, 3)) / 10


def judge(case, kept, margin):
    """Yields (pass or FAIL, sentence, remark) for each figure of a case or of its baseline.

    kept: the baseline's figures of this case, or None when it knows none.
    """
    measured = figures(case)
    if kept is None:
        yield "FAIL", title(case), "the baseline has no such case"
        return
    for name in list(measured) + [n for n in kept if n not in measured]:
        sentence = f"{title(case)}, {name}"
        if name not in measured:
            yield "FAIL", sentence, f"{kept[name]:.1f} in the baseline, and this build has none"
        elif name not in kept:
            yield "FAIL", sentence, f"{measured[name]:.1f}, and the baseline has none"
        else:
            yield _judge_one(sentence, measured[name], kept[name], limit(name, kept[name], margin))


def _judge_one(sentence, count, expected, most):
    sentence = f"{sentence}: {count:.1f} instructions a packet, at most {most:.1f}"
    change = f"{count - expected:+.1f} from the baseline's {expected:.1f}"
    if count > most:
        return "FAIL", sentence, change
    better = count < expected - (most - expected)
    return "pass", sentence, f"better: {change}" if better else ""
