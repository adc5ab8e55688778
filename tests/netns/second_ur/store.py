"""Tunnel keys as drd's store has them (proto/dr/store/secrets.proto): this UR has no signalling."""

import sqlite3


def fields(data):
    """(number, value) of a protobuf message that has varints and byte strings alone."""
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(data):
        tag = varint()
        value = varint()
        if tag & 7 == 2:
            at += value
            value = data[at - value:at]
        yield tag >> 3, value


def tunnel_keys(store):
    """{GRE key: {key number: key}}, the newest first, of all subscribers."""
    connection = sqlite3.connect(f"file:{store}?mode=ro", uri=True)
    try:
        rows = connection.execute("SELECT object FROM secrets").fetchall()
    finally:
        connection.close()
    keys = {}
    for (secrets,) in rows:
        for number, tunnel in fields(secrets):
            if number == 1:
                of = dict(fields(tunnel))
                keys[of[1]] = {of[2]: of[3]}
                if of.get(4):
                    keys[of[1]][of[4]] = of[5]
    return keys
