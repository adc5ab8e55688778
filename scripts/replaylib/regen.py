"""Rewriting expectations on purpose: the expect captures, and the counters when asked."""

import json

from . import compare, pcap


def regenerate(result, with_counters) -> list:
    """Rewrites what differs from what was seen; a line for each file that changed.

    What was rewritten is no failure of the result any more. A run that broke off is left alone.
    """
    case = result.case
    if result.unreadable or any(f.kind == "run" for f in result.failures):
        return []
    settled = ("frames", "counters") if with_counters else ("frames",)
    result.failures = [f for f in result.failures if f.kind not in settled]
    document = json.loads(case.file.read_text(encoding="utf-8"))
    changed, document_changed = [], False
    for step in case.sends:
        for port in (p["name"] for p in case.ports):
            sent = result.sent.get((step.number, port), [])
            file = step.expect_files.get(port)
            if file is None:
                if not sent:
                    continue
                file = case.folder / f"{step.number:03d}-expect-{port}.pcap"
                document["steps"][step.number].setdefault("expect", {})[port] = file.name
                document_changed = True
            elif file.is_file() and compare.same(step.expect[port], [sent], case.mask):
                continue
            pcap.write(file, sent)
            changed.append(f"{file}: {len(step.expect.get(port, []))} -> {len(sent)} frames")
    if with_counters:
        counters = {n: v for n, v in result.counters.items() if v and not n.startswith("port.")}
        for name in case.counters:
            if name.startswith("port."):
                counters[name] = result.counters[name]
        if counters != case.counters:
            document["counters"] = counters
            document_changed = True
    if document_changed:
        case.file.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n",
                             encoding="utf-8")
        changed.append(f"{case.file}: counters or names of expectations")
    return changed
