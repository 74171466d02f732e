"""Cursors: where a page ended, as a text that says nothing to anybody else and is known again when it comes back.

A version, the row id and a checksum over these and the kind of list, in base64url: so that a cursor of another list,
of another version, or one that was cut or made up, is refused instead of showing something odd.
"""

from __future__ import annotations

import binascii
import hashlib
from base64 import urlsafe_b64decode, urlsafe_b64encode

_VERSION = b"\x01"
_LENGTH = 20  # characters: 1 byte of version, 8 of the row id, 6 of the checksum


def cursor(kind: str, row: int) -> str:
    """The cursor of a list of this kind (``tasks``) that goes on before this row id."""
    told = _VERSION + row.to_bytes(8, "big")
    return urlsafe_b64encode(told + _checksum(kind, told)).decode()


def row_of(kind: str, text: str) -> int:
    """The row id in a cursor; raises ValueError for one that no list of this kind gave."""
    try:
        raw = urlsafe_b64decode(text) if len(text) == _LENGTH and text.isascii() else b""
    except binascii.Error:
        raw = b""
    row = int.from_bytes(raw[1:9], "big")
    if row >= 2**63 or cursor(kind, row) != text:
        raise ValueError("is not one that a page gave")
    return row


def _checksum(kind: str, told: bytes) -> bytes:
    return hashlib.blake2b(told, digest_size=6, key=kind.encode()).digest()
