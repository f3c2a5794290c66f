"""The few words that starting and stopping a local server needs, on a plain blocking socket.

Not a client: one connection a question, no arguments with spaces.
"""

from __future__ import annotations

import socket

__all__ = ["ask", "ping"]


def ask(path: str, *words: str, timeout: float = 2.0) -> bytes:
    """Sends one command to a Unix socket and returns the raw reply; raises OSError.

    Empty if the server closed the connection instead of answering.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout)
        connection.connect(path)
        connection.sendall(" ".join(words).encode() + b"\r\n")
        reply = bytearray()
        wanted = 1
        while len(reply) < wanted or not reply.endswith(b"\r\n"):
            piece = connection.recv(65536)
            if not piece:
                break
            reply += piece
            if reply[:1] == b"$" and b"\r\n" in reply:
                head, _, _ = bytes(reply).partition(b"\r\n")
                wanted = len(head) + 4 + max(0, int(head[1:]))
        return bytes(reply)


def ping(path: str) -> str:
    """Tells what a Unix socket answers: `up`, `loading`, `busy` (no answer in time) or `down`."""
    try:
        reply = ask(path, "PING")
    except (TimeoutError, BlockingIOError):
        return "busy"
    except OSError:
        return "down"
    if reply.startswith(b"-LOADING"):
        return "loading"
    return "up" if reply else "down"
