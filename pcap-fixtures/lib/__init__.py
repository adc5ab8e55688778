"""What the fixtures are built with: an independent statement, in scapy, of what must leave.

Nothing here looks at the implementation. The sources are proto/TUNNEL.md and the RFCs named beside
each function.

topology   the ports and addresses that most cases share
packets    packets of hosts: builders with readable names
flow       flow hash and bucket map
model      a subscriber, its tunnels, a policy, as they are provisioned
forward    what happens to a packet: TTL, encapsulation, fragments, ICMP errors
case       a case folder: case.json and its captures
"""
