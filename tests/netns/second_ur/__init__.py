"""A User Router's end of the tunnel protocol, written from proto/TUNNEL.md alone.

It shares no code with the product and exists to show that the text is enough: messages.py
(§6), peer.py (§7), session.py (§8, §9), path_mtu.py (§15), flow.py (§3, §4), choice.py (§11), router.py (§2).
It leaves out: T that adapts, suspicion, data lost, quality, moves bucket by bucket, native GRE,
outer IPv6, several classes. site.py, store.py and attacks.py are the test's.
"""
