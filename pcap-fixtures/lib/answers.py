"""ICMP errors of the router as frames: to the network, and into a site's tunnel."""

from . import flow
from .forward import icmp_error, into_tunnel
from .packets import sent
from .topology import DR4, DR6


def answered(about, kind, mtu=0):
    """The error about a packet from the network goes back to the network."""
    source = DR4 if bytes(about)[0] >> 4 == 4 else DR6
    return sent(icmp_error(kind, about, source, mtu))


def answered_in_tunnel(customer, about, kind, mtu=0):
    """The error about a site's packet goes back into the site's tunnel, by the flow it is about."""
    source = DR4 if bytes(about)[0] >> 4 == 4 else DR6
    error = icmp_error(kind, about, source, mtu)
    hashed = flow.flow_hash(error, customer.seed)
    assert hashed == flow.flow_hash(bytes(about), customer.seed)
    return sent(into_tunnel(customer.tunnels[0], error, hashed))
