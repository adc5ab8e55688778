"""Network namespaces and the veth cables between them."""

import os

from .shell import run


class Namespace:
    """One network namespace, made with `ip netns`; `node` is its short name in the lab."""

    def __init__(self, name, node=None):
        self.name = name
        self.node = node or name

    def create(self):
        run(["ip", "netns", "add", self.name])
        # The lab gives every address itself: no address detection delays, no autoconfiguration.
        for family in ("all", "default"):
            self.sysctl(f"net.ipv6.conf.{family}.accept_dad", 0)
            self.sysctl(f"net.ipv6.conf.{family}.accept_ra", 0)
            self.sysctl(f"net.ipv4.conf.{family}.rp_filter", 0)
        self.ip("link", "set", "lo", "up")

    def delete(self):
        run(["ip", "netns", "del", self.name], check=False)

    def exists(self):
        return os.path.exists(f"/run/netns/{self.name}")

    def pids(self):
        return [int(p) for p in run(["ip", "netns", "pids", self.name], check=False).stdout.split()]

    def command(self, args):
        """The command line that runs `args` inside."""
        return ["ip", "netns", "exec", self.name, *[str(a) for a in args]]

    def run(self, args, **options):
        return run(self.command(args), **options)

    def ip(self, *args):
        return run(["ip", "-n", self.name, *args])

    def sysctl(self, key, value):
        self.run(["sysctl", "-q", "-w", f"{key}={value}"])

    def forward(self, enabled=True):
        """The kernel's own forwarding, both families."""
        self.sysctl("net.ipv4.ip_forward", int(enabled))
        self.sysctl("net.ipv6.conf.all.forwarding", int(enabled))

    def addresses(self, device, *addresses):
        for address in addresses:
            options = ["nodad"] if ":" in address else []
            self.ip("address", "add", address, "dev", device, *options)

    def route(self, prefix, via):
        self.ip("route", "add", prefix, "via", via)

    def interface_counter(self, device, counter):
        return int(self.run(["cat", f"/sys/class/net/{device}/statistics/{counter}"]).stdout)


def cable(a, a_device, b, b_device):
    """A veth pair with one end in each namespace, both up."""
    run(["ip", "link", "add", a_device, "netns", a.name,
         "type", "veth", "peer", "name", b_device, "netns", b.name])
    for namespace, device in ((a, a_device), (b, b_device)):
        namespace.ip("link", "set", device, "up")


def without_offloads(namespace, device):
    """What leaves here for an AF_XDP socket must be what a wire would carry.

    A veth hands over packets with unfinished checksums, segments of 64 KiB, and VLAN tags beside the
    frame unless told not to; the kernel's own receive path knows, a packet socket's reader does not.
    """
    namespace.run(["ethtool", "-K", device, "tx", "off", "tso", "off", "gso", "off",
                   "txvlan", "off", "tx-vlan-stag-hw-insert", "off"])
