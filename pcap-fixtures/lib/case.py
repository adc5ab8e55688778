"""A case folder: case.json, provision files and captures, the same bytes each time."""

import json
import struct
from pathlib import Path

from .topology import POOLS, up0


def encode(frames) -> bytes:
    """Classic pcap; packet n carries the time n milliseconds."""
    out = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)]
    for number, frame in enumerate(map(bytes, frames)):
        out.append(struct.pack("<IIII", number // 1000, number % 1000 * 1000, len(frame), len(frame)))
        out.append(frame)
    return b"".join(out)


class Case:
    """Steps are added in order; write() makes the folder."""

    def __init__(self, name, description, ports=None, **more):
        self.name = name
        self._document = {"description": description, "ports": ports or [up0()], "steps": []}
        self._more = more
        self._files = {}

    def apply(self, resources):
        name = f"{self._number:03d}-apply.json"
        self._files[name] = "".join(json.dumps(r) + "\n" for r in resources).encode()
        self._document["steps"].append({"apply": name})
        return self

    def provision(self, *subscribers):
        """Pools, the subscribers' policies, the subscribers."""
        policies = {s.policy: s.policy_resource() for s in subscribers}
        return self.apply([*POOLS, *policies.values(), *(s.resource() for s in subscribers)])

    def delete(self, kind, name):
        self._document["steps"].append({"delete": {kind: name}})
        return self

    def send(self, frames, expect=(), port="up0"):
        """Frames into one port; what that port must send."""
        return self.step({port: frames}, {port: expect})

    def step(self, frames, expect):
        step = {}
        for key, by_port in (("send", frames), ("expect", expect)):
            for port, content in by_port.items():
                if key == "expect" and not content:
                    continue
                name = f"{self._number:03d}-{key}-{port}.pcap"
                if len(self._document["ports"]) == 1:
                    name = f"{self._number:03d}-{key}.pcap"
                self._files[name] = encode(content)
                step.setdefault(key, {})[port] = name
        self._document["steps"].append(step)
        return self

    def counters(self, **counts):
        """drop__no_route=1 means "drop.no_route": 1. All other drop counters must stand still."""
        named = {k.replace("__", "."): v for k, v in counts.items()}
        self._document["counters"] = named
        self._document["countersExact"] = True
        return self

    @property
    def description(self):
        return self._document["description"]

    @property
    def _number(self):
        return len(self._document["steps"])

    def files(self) -> dict:
        document = {**self._document, **self._more}
        text = json.dumps(document, indent=1) + "\n"
        return {"case.json": text.encode(), **self._files}

    def write(self, root: Path):
        folder = root / self.name
        folder.mkdir(parents=True, exist_ok=True)
        files = self.files()
        for old in folder.iterdir():
            if old.name not in files:
                old.unlink()
        for name, content in files.items():
            (folder / name).write_bytes(content)
