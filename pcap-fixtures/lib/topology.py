"""The network that most cases share: one port towards one gateway.

    Internet hosts ── gateway ── up0 [ DR ]
    lines' URs     ──┘
"""

UP_MAC = "02:00:00:00:00:01"
GATEWAY_MAC = "02:00:00:00:00:fe"
DR4, DR6 = "192.0.2.1", "2001:db8:ff::1"
GATEWAY4, GATEWAY6 = "192.0.2.254", "2001:db8:ff::fe"

# A host on the Internet, and the far ends of two lines.
HOST4, HOST6 = "93.184.216.34", "2001:db8:1234::34"
LINE_A4, LINE_A6 = "198.51.100.7", "2001:db8:a::7"
LINE_B4, LINE_B6 = "198.51.100.107", "2001:db8:b::7"

POOLS = [{"pool": {"name": "test-v4", "prefix": "203.0.113.0/24"}},
         {"pool": {"name": "test-v6", "prefix": "2001:db8:5000::/36"}}]


def up0(**changes):
    """The port, with default routes of both families through the gateway."""
    port = {
        "name": "up0", "mac": UP_MAC, "addresses": [f"{DR4}/24", f"{DR6}/64"],
        "routes": [{"prefix": "0.0.0.0/0", "via": GATEWAY4}, {"prefix": "::/0", "via": GATEWAY6}],
        "neighbours": [{"address": GATEWAY4, "mac": GATEWAY_MAC},
                       {"address": GATEWAY6, "mac": GATEWAY_MAC}],
    }
    return {**port, **changes}
