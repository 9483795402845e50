"""As much of MongoDB's wire protocol as it takes to ask a member for its state and to make it a replica set with users.

Only the standard library: it runs in a pod of Kubernetes too."""

import struct

from probe import exchange

OK = b"\x01ok\x00" + struct.pack("<d", 1)  # an element of type double: 1


class Refused(Exception):
    """A command that MongoDB did not do."""


def as_member(connection, documents):
    """Runs commands as somebody who may do everything: who has a member's certificate. Closes the connection."""
    proof = {"authenticate": 1, "mechanism": "MONGODB-X509", "$db": "$external"}
    with connection:
        for document in (proof, *documents):
            reply = exchange(connection, message(document), "<i", length_counts_itself=True)
            if OK not in reply:
                raise Refused(f"MongoDB refuses {next(iter(document))}: {reply!r}")


def is_member(hello):
    return b"\x02setName\x00" in hello  # an element of type string


def is_primary(hello):
    return b"\x08isWritablePrimary\x00\x01" in hello  # an element of type boolean: true


def is_secondary(hello):
    return b"\x08secondary\x00\x01" in hello


def message(document):
    body = struct.pack("<ib", 0, 0) + bson(document)  # no flags; a section of kind 0
    return struct.pack("<iiii", 16 + len(body), 1, 0, 2013) + body  # OP_MSG


def bson(document):
    body = b"".join(element(key.encode() + b"\x00", value) for key, value in document.items())
    return struct.pack("<i", 4 + len(body) + 1) + body + b"\x00"


def element(name, value):
    if isinstance(value, int):
        return b"\x10" + name + struct.pack("<i", value)
    if isinstance(value, str):
        text = value.encode() + b"\x00"
        return b"\x02" + name + struct.pack("<i", len(text)) + text
    if isinstance(value, list):
        return b"\x04" + name + bson({str(index): item for index, item in enumerate(value)})
    return b"\x03" + name + bson(value)
