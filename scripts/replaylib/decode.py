"""The side-by-side picture of an expected and a sent frame."""

import scapy.layers.inet6  # noqa: F401  registers the IPv6 layers
from scapy.layers.inet import UDP
from scapy.layers.l2 import GRE, Ether
from scapy.packet import NoPayload, bind_layers

GRE_UDP_PORT = 4754
WIDTH = 44

bind_layers(UDP, GRE, dport=GRE_UDP_PORT)
bind_layers(UDP, GRE, sport=GRE_UDP_PORT)


def _fields(frame):
    """[(layer number, layer name, field name, value as text)] of a decoded frame."""
    rows = []
    layer, number = Ether(frame), 0
    while not isinstance(layer, NoPayload):
        for description in layer.fields_desc:
            if description.name not in layer.fields:
                continue
            try:
                value = description.i2repr(layer, layer.getfieldval(description.name))
            except Exception:  # a field that scapy cannot print
                value = repr(layer.fields[description.name])
            text = str(value)
            rows.append((number, layer.name, description.name,
                         text if len(text) <= WIDTH else text[:WIDTH - 3] + "..."))
        layer, number = layer.payload, number + 1
    return rows


def _table(expected, sent):
    left = {row[:3]: row[3] for row in _fields(expected)}
    right = {row[:3]: row[3] for row in _fields(sent)}
    keys = sorted(dict.fromkeys([*left, *right]), key=lambda k: k[0])
    lines = [f"      {'':24} {'expected':{WIDTH}} sent"]
    shown = None
    for key in keys:
        number, layer, name = key
        if shown != (number, layer):
            lines.append(f"      {layer}")
            shown = (number, layer)
        a, b = left.get(key, "-"), right.get(key, "-")
        mark = ">" if a != b else " "
        lines.append(f"    {mark}   {name:22} {a:{WIDTH}} {b if a != b else ''}".rstrip())
    return lines


def _hex(expected, sent):
    """Rows of 16 bytes that differ."""
    lines = []
    for at in range(0, max(len(expected), len(sent)), 16):
        x, y = expected[at:at + 16], sent[at:at + 16]
        if x == y:
            continue
        marks = "".join("   " if n < len(x) and n < len(y) and x[n] == y[n] else "^^ "
                        for n in range(max(len(x), len(y))))
        lines += [f"      {at:04x}  expected  {x.hex(' ')}", f"            sent      {y.hex(' ')}",
                  f"                      {marks.rstrip()}"]
        if len(lines) >= 24:
            lines.append("      ...")
            break
    return lines


def side_by_side(expected, sent) -> list:
    """Lines of text; either frame may be None (missing)."""
    if expected is None or sent is None:
        return _alone(expected or sent, "sent, not expected" if expected is None else "not sent")
    sizes = [f"{len(f)} bytes" for f in (expected, sent)]
    return [f"      {'':24} {sizes[0]:{WIDTH}} {sizes[1]}", *_table(expected, sent),
            "      bytes that differ:", *_hex(expected, sent)]


def _alone(frame, what):
    """A frame that has no counterpart."""
    lines, shown = [f"      {what}: {len(frame)} bytes"], None
    for number, layer, name, value in _fields(frame):
        if shown != number:
            lines.append(f"      {layer}")
            shown = number
        lines.append(f"        {name:22} {value}")
    return lines + [f"      {at:04x}  {frame[at:at + 16].hex(' ')}" for at in range(0, len(frame), 16)]
