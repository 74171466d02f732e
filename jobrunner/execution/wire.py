"""Messages between the worker and a child: JSON objects, each after its length in four bytes."""

from __future__ import annotations

import json
import struct
from typing import Any

Message = dict[str, Any]

LIMIT = 64 * 1024 * 1024  # bytes of one message
_HEAD = struct.Struct("!I")
_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


class WireError(Exception):
    """What came in is no message, or what shall go out is too large for one."""


def pack(message: Message) -> bytes:
    """One message as bytes; raises WireError when it is too large, and TypeError or ValueError when it is no JSON."""
    body = _encode(message).encode("ascii")
    if len(body) > LIMIT:
        raise WireError(f"{len(body)} bytes are too many for one message; the limit is {LIMIT}")
    return _HEAD.pack(len(body)) + body


class Unpacker:
    """Puts bytes together to messages, however they were cut."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, data: bytes) -> list[Message]:
        """The messages that are complete with these bytes; raises WireError on anything else."""
        if not self._held and len(data) >= _HEAD.size and len(data) == _HEAD.size + _HEAD.unpack_from(data)[0]:
            return [_decode(data[_HEAD.size :])]  # as nearly always: one message, and whole
        self._held += data
        found: list[Message] = []
        start = 0
        while len(self._held) - start >= _HEAD.size:
            (length,) = _HEAD.unpack_from(self._held, start)
            if length > LIMIT:
                raise WireError(f"a message of {length} bytes was announced")
            end = start + _HEAD.size + length
            if len(self._held) < end:
                break
            found.append(_decode(self._held[start + _HEAD.size : end]))
            start = end
        del self._held[:start]
        return found


def _decode(body: bytes | bytearray) -> Message:
    try:
        message = json.loads(body.decode())
    except (ValueError, RecursionError) as error:
        raise WireError(f"no JSON: {error}") from error
    if not isinstance(message, dict):
        raise WireError("a message is an object")
    return message
