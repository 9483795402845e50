"""A request to a service on this machine, and its reply: how one knows that it truly answers."""

import contextlib
import socket
import struct

TIMEOUT_SECONDS = 2


def connected(port, tls=None):
    connection = socket.create_connection(("127.0.0.1", port), TIMEOUT_SECONDS)
    return tls.wrap_socket(connection, server_hostname="127.0.0.1") if tls else connection


def ask(port, request, length_format, length_counts_itself, tls=None):
    """The reply without the four bytes of its length, or None if no whole one came."""
    with contextlib.suppress(OSError, EOFError), connected(port, tls) as connection:
        return exchange(connection, request, length_format, length_counts_itself)
    return None


def exchange(connection, request, length_format, length_counts_itself):
    connection.sendall(request)
    length, = struct.unpack(length_format, receive(connection, 4))
    return receive(connection, length - 4 if length_counts_itself else length)


def receive(connection, size):
    data = b""
    while len(data) < size:
        part = connection.recv(size - len(data))
        if not part:
            raise EOFError
        data += part
    return data
