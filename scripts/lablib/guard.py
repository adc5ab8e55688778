"""What tests of the guard on a UR's lines share: frames onto a line, and who saw what."""

from contextlib import ExitStack, contextmanager

from . import topology as t
from . import ur
from .cases import expect
from .packets import Capture, inject, mac
from .shell import LabError, wait_until

# Of the lab's first site.
SITE4, SITE6 = "net 203.0.113.8/29", "net 2001:db8:5000:100::/56"


def counter(lab, name):
    return ur.status(lab)["counters"].get(name, 0)


def onto_line(lab, line, *packets, tag=(), to=None):
    """Puts IP packets (scapy) on a line, from the ISP's end to the UR; `tag`: VLAN ids in front; `to`:
    the UR's Ethernet address, where its device has another name than the lab gave it."""
    from scapy.layers.l2 import Dot1Q, Ether

    isp, router = lab.net[f"isp{line}"], lab.net["ur1"]
    frames = []
    for packet in packets:
        front = Ether(src=mac(isp, "ur1"), dst=to or mac(router, f"wan-{line}"))
        for number in tag:
            front /= Dot1Q(vlan=number)
        frames.append(bytes(front / packet))
    inject(isp, "ur1", frames)


def ports():
    """A fresh UDP port for a case, by which its packets are told from all others."""
    ports.last += 1
    return ports.last


ports.last = 41000


@contextmanager
def unseen(lab, *places, expression):
    """None of the places (node, device) sees a packet of the expression coming in. What is inside
    waits until the packets have had their fate; when that fails too, both are told."""
    captures = [Capture(lab, node, device, expression, direction="in") for node, device in places]
    why = ""
    with ExitStack() as stack:
        for capture in captures:
            stack.enter_context(capture)
        try:
            yield
        except LabError as error:
            why = f"{error}\n"
    seen = [f"on {device} of {node}: {line}" for capture, (node, device) in zip(captures, places)
            for line in capture.lines()[:6]]
    expect(not why and not seen, why + "\n".join(seen))


@contextmanager
def dropped(lab, name, packets):
    """So many packets more are counted under the name, within the time that a loaded machine needs."""
    before = counter(lab, name)
    yield
    wait_until(lambda: counter(lab, name) >= before + packets,
               f"{packets} packets more as {name}, which is at {counter(lab, name) - before}")
    expect(counter(lab, name) == before + packets, f"{name}: {counter(lab, name) - before}")


@contextmanager
def nothing_in_clear(lab):
    """Neither ISP sees an address of the site outside a tunnel, nor a packet that quotes one."""
    with unseen(lab, ("ispa", "ur1"), ("ispb", "ur1"),
                expression=f"{SITE4} or {SITE6} or icmp[icmptype] == icmp-unreach or "
                           "icmp[icmptype] == icmp-timxceed or (arp and arp net 203.0.113.8/29) or "
                           "icmp6[icmp6type] == 1 or icmp6[icmp6type] == 2 or icmp6[icmp6type] == 3"):
        yield


def udp(source, destination, port, size=8, **fields):
    """A UDP packet of either family from and to these addresses."""
    from scapy.layers.inet import IP, UDP
    from scapy.layers.inet6 import IPv6
    from scapy.packet import Raw

    head = (IPv6 if ":" in source else IP)(src=source, dst=destination, **fields)
    return head / UDP(sport=port, dport=port) / Raw(b"g" * size)


def outside(family):
    """The Internet host's address."""
    return t.INET6 if family == 6 else t.INET4
