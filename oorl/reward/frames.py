"""Messages between pool and supervisor: four bytes of length, most significant first, and a JSON object."""

from __future__ import annotations

import json
import socket
from typing import Any

FRAME_LIMIT = 1 << 30


def encode_frame(message: dict[str, Any]) -> bytes:
    """A message with its length before it. Text stays ASCII, so that lone surrogates survive."""
    body = json.dumps(message, separators=(",", ":")).encode("ascii")
    return len(body).to_bytes(4, "big") + body


def read_frame(connection: socket.socket) -> dict[str, Any]:
    """The next message; EOFError when the other side has gone."""
    length = int.from_bytes(_read_exactly(connection, 4), "big")
    return json.loads(_read_exactly(connection, length))


def _read_exactly(connection: socket.socket, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        part = connection.recv(min(count - len(data), 1 << 20))
        if not part:
            raise EOFError("the supervisor closed the connection")
        data += part
    return bytes(data)
