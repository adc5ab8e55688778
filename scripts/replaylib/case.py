"""case.json: reading and validating. Every complaint names the file and the place in it."""

import ipaddress
import json
import re
from dataclasses import dataclass, field
from pathlib import Path

from . import pcap

MASKS = ("outer.udp.sport", "outer.ipv6.flowlabel", "outer.ipv4.id")
MAX_PORTS = 16
RESOURCES = ("subscriber", "policy", "pool")


class CaseError(Exception):
    """The case cannot be read."""


@dataclass
class Step:
    number: int
    kind: str  # "apply", "delete" or "send"
    apply: list = field(default_factory=list)   # files
    delete: list = field(default_factory=list)  # (kind, name)
    send: dict = field(default_factory=dict)    # port -> frames
    expect: dict = field(default_factory=dict)  # port -> frames
    expect_files: dict = field(default_factory=dict)  # port -> file


@dataclass
class Case:
    folder: Path
    description: str
    ports: list
    steps: list
    mask: list
    counters: dict
    counters_at_least: dict
    counters_exact: bool

    @property
    def file(self) -> Path:
        return self.folder / "case.json"

    @property
    def sends(self) -> list:
        return [s for s in self.steps if s.kind == "send"]


class _Reader:
    """Walks the JSON and raises CaseError with file and path at the first fault."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.file = folder / "case.json"

    def fail(self, path: str, text: str):
        raise CaseError(f"{self.file}: {path or 'top level'}: {text}")

    def typed(self, value, kinds, path, what):
        if isinstance(value, bool) and kinds is int or not isinstance(value, kinds):
            self.fail(path, f"must be {what}, is {json.dumps(value)[:60]}")
        return value

    def object(self, value, path, required=(), optional=()):
        self.typed(value, dict, path, "an object")
        for key in required:
            if key not in value:
                self.fail(path, f"\"{key}\" is missing")
        if required or optional:
            known = [*required, *optional]
            for key in value:
                if key not in known:
                    self.fail(_join(path, key), f"unknown field; known are {', '.join(known)}")
        return value

    def list(self, value, path):
        return self.typed(value, list, path, "a list")

    def string(self, value, path):
        return self.typed(value, str, path, "a string")

    def parsed(self, value, path, parse, what):
        self.string(value, path)
        try:
            return parse(value)
        except ValueError as error:
            self.fail(path, f"must be {what}: {error}")

    def frames(self, name, path, must_exist=True):
        self.string(name, path)
        file = self.folder / name
        if not file.is_file():
            if must_exist:
                self.fail(path, f"no such file: {file}")
            return file, []
        try:
            return file, pcap.read(file)
        except (pcap.PcapError, OSError) as error:
            self.fail(path, f"{file}: {error}")


def _join(path, key):
    return f"{path}.{key}" if path else key


def _mac(text):
    if not re.fullmatch(r"(?:[0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}", text):
        raise ValueError(f"{text!r} is not like 02:00:00:00:00:01")
    return text


def _interface(text):
    if "/" not in text:
        raise ValueError(f"{text!r} has no prefix length, as in 192.0.2.1/24")
    return ipaddress.ip_interface(text)


def _ports(r, document):
    ports = r.list(document["ports"], "ports")
    if not 1 <= len(ports) <= MAX_PORTS:
        r.fail("ports", f"must hold 1 to {MAX_PORTS} ports, holds {len(ports)}")
    seen = set()
    for n, port in enumerate(ports):
        at = f"ports[{n}]"
        r.object(port, at, ("name", "mac"), ("addresses", "routes", "neighbours", "mtu"))
        name = r.string(port["name"], f"{at}.name")
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,30}", name):
            r.fail(f"{at}.name", f"{name!r} is no port name: letters, digits, . _ -, at most 31")
        if name in seen:
            r.fail(f"{at}.name", f"{name!r} is the name of an earlier port")
        seen.add(name)
        r.parsed(port["mac"], f"{at}.mac", _mac, "a MAC address")
        for k, text in enumerate(r.list(port.get("addresses", []), f"{at}.addresses")):
            r.parsed(text, f"{at}.addresses[{k}]", _interface, "an address with prefix length")
        for k, route in enumerate(r.list(port.get("routes", []), f"{at}.routes")):
            here = f"{at}.routes[{k}]"
            r.object(route, here)
            if "prefix" not in route:
                r.fail(here, "\"prefix\" is missing")
            r.parsed(route["prefix"], f"{here}.prefix", ipaddress.ip_network, "a prefix")
        for k, known in enumerate(r.list(port.get("neighbours", []), f"{at}.neighbours")):
            here = f"{at}.neighbours[{k}]"
            r.object(known, here, ("address", "mac"))
            r.parsed(known["address"], f"{here}.address", ipaddress.ip_address, "an address")
            r.parsed(known["mac"], f"{here}.mac", _mac, "a MAC address")
        mtu = r.typed(port.get("mtu", 1500), int, f"{at}.mtu", "a number")
        if not 1280 <= mtu <= 9000:
            r.fail(f"{at}.mtu", f"must be 1280 to 9000, is {mtu}")
    return ports


def _apply(r, step, value, at):
    names = value if isinstance(value, list) else [value]
    for name in names:
        r.string(name, at)
        if not (r.folder / name).is_file():
            r.fail(at, f"no such file: {r.folder / name}")
        step.apply.append(r.folder / name)


def _delete(r, step, value, at):
    r.object(value, at, (), RESOURCES)
    if not value:
        r.fail(at, f"must name what to delete: one of {', '.join(RESOURCES)}")
    for kind, names in value.items():
        for name in names if isinstance(names, list) else [names]:
            step.delete.append((kind, r.string(name, _join(at, kind))))


def _send(r, step, raw, at, ports, regenerating):
    for key in ("send", "expect"):
        if key not in raw:
            continue
        for port, name in r.object(raw[key], f"{at}.{key}").items():
            here = f"{at}.{key}.{port}"
            if port not in ports:
                r.fail(here, f"no such port; ports are {', '.join(ports)}")
            file, frames = r.frames(name, here, must_exist=not (regenerating and key == "expect"))
            if key == "send":
                step.send[port] = frames
            else:
                step.expect[port] = frames
                step.expect_files[port] = file


def _steps(r, document, ports, regenerating):
    steps = []
    for n, raw in enumerate(r.list(document["steps"], "steps")):
        at = f"steps[{n}]"
        r.object(raw, at, (), ("apply", "delete", "send", "expect"))
        kinds = [k for k in ("apply", "delete", "send") if k in raw]
        if len(kinds) != 1:
            r.fail(at, "must be one of apply, delete, send (with expect), "
                       f"is {', '.join(kinds) or 'none of them'}")
        step = Step(n, kinds[0])
        if "expect" in raw and step.kind != "send":
            r.fail(f"{at}.expect", "belongs to a step with \"send\"")
        if step.kind == "apply":
            _apply(r, step, raw["apply"], f"{at}.apply")
        elif step.kind == "delete":
            _delete(r, step, raw["delete"], f"{at}.delete")
        else:
            _send(r, step, raw, at, ports, regenerating)
        steps.append(step)
    return steps


def _counters(r, document, key):
    counters = r.object(document.get(key, {}), key)
    for name, value in counters.items():
        r.typed(value, int, f"{key}.{name}", "a whole number")
        if value < 0:
            r.fail(f"{key}.{name}", f"must not be negative, is {value}")
    return counters


def load(folder: Path, regenerating: bool = False) -> Case:
    """Reads a case folder. With `regenerating`, expectations may be missing."""
    r = _Reader(folder)
    try:
        document = json.loads(r.file.read_text(encoding="utf-8"))
    except OSError as error:
        raise CaseError(f"{r.file}: {error.strerror}") from error
    except json.JSONDecodeError as error:
        raise CaseError(f"{r.file}: line {error.lineno}, column {error.colno}: "
                        f"not JSON: {error.msg}") from error
    except UnicodeDecodeError as error:
        raise CaseError(f"{r.file}: byte {error.start}: not UTF-8") from error
    r.object(document, "", ("ports", "steps"),
             ("description", "mask", "counters", "countersAtLeast", "countersExact"))
    ports = _ports(r, document)
    names = [p["name"] for p in ports]
    steps = _steps(r, document, names, regenerating)
    mask = r.list(document.get("mask", []), "mask")
    for n, name in enumerate(mask):
        if name not in MASKS:
            r.fail(f"mask[{n}]", f"{json.dumps(name)} cannot be masked; known are {', '.join(MASKS)}")
    return Case(folder=folder,
                description=r.string(document.get("description", folder.name), "description"),
                ports=ports, steps=steps, mask=mask,
                counters=_counters(r, document, "counters"),
                counters_at_least=_counters(r, document, "countersAtLeast"),
                counters_exact=r.typed(document.get("countersExact", False), bool,
                                       "countersExact", "true or false"))


def find(paths):
    """The case folders that the arguments mean: themselves, or all beneath; and the arguments that
    have none, which is an error only when none of them has any."""
    folders, empty = [], []
    for path in map(Path, paths):
        if path.name == "case.json" and path.is_file():
            path = path.parent
        if not path.is_dir():
            raise CaseError(f"{path}: no such folder")
        if (path / "case.json").is_file():
            folders.append(path)
            continue
        beneath = sorted(p.parent for p in path.rglob("case.json"))
        folders.extend(beneath)
        if not beneath:
            empty.append(path)
    if not folders:
        raise CaseError(f"{empty[0]}: neither a case folder (no case.json) nor any beneath it")
    return folders, empty
