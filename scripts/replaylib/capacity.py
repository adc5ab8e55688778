"""How large the data plane's tables must be for a case: small, so that it starts at once."""

import json

TUNNEL_SLOTS = 1 << 24


def _objects(file):
    """The resources of an apply file; empty when it is not JSON, for drcli to complain about."""
    text = file.read_text(encoding="utf-8", errors="replace").strip()
    try:
        if text.startswith("["):
            return json.loads(text)
        return [json.loads(line) for line in text.splitlines() if line.strip()]
    except json.JSONDecodeError:
        try:
            return [json.loads(text)]
        except json.JSONDecodeError:
            return []


def needed(case) -> dict:
    subscribers = tunnels = prefixes = slot = 0
    for step in case.steps:
        for file in step.apply:
            for resource in _objects(file):
                subscriber = resource.get("subscriber") if isinstance(resource, dict) else None
                if not isinstance(subscriber, dict):
                    continue
                subscribers += 1
                prefixes += len(subscriber.get("prefixes", []))
                for tunnel in subscriber.get("tunnels", []):
                    tunnels += 1
                    key = tunnel.get("id", 0) if isinstance(tunnel, dict) else 0
                    # The key's low 24 bits index the tunnel table.
                    slot = max(slot, int(key) % TUNNEL_SLOTS if str(key).isdigit() else 0)
    return {
        "subscribers": 1024 + 2 * subscribers,
        "tunnels": min(TUNNEL_SLOTS, max(4096 + 2 * tunnels, slot + 1)),
        "maps": 256, "next_hops": 1024,
        "prefixes4": 4096 + 2 * prefixes, "prefixes6": 4096 + 2 * prefixes,
        "groups4": 1024 + 2 * prefixes, "groups6": 4096 + 16 * prefixes,
    }
