"""What an API key is: its text, what of it is kept, and what it allows. Pure.

``jr_<id>_<secret>_<check>``: the id finds the key, 43 base-62 characters hold 256 bits of chance, and the check is the
CRC-32 of all before it, by which scanners of secrets tell a key from a text that only looks like one. Of a key with so
much chance in it a plain SHA-256 is kept: nobody can try them all, so a slow hash would only slow us down.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import string
import zlib
from enum import StrEnum

_DIGITS = string.digits + string.ascii_uppercase + string.ascii_lowercase
ID_LENGTH, SECRET_LENGTH, CHECK_LENGTH = 10, 43, 6
KEY = re.compile(rf"jr_([0-9A-Za-z]{{{ID_LENGTH}}})_[0-9A-Za-z]{{{SECRET_LENGTH}}}_([0-9A-Za-z]{{{CHECK_LENGTH}}})")


class Scope(StrEnum):
    """What a caller may do; a route declares the one that it needs. ``admin`` includes all others."""

    OPEN = "open"  # nothing is asked
    READ = "read"
    SUBMIT = "submit"
    OPERATE = "operate"  # cancel, retry, schedules, queues, nodes
    ADMIN = "admin"


GRANTED = (Scope.READ, Scope.SUBMIT, Scope.OPERATE, Scope.ADMIN)
"""The scopes that a key can be given."""


def make() -> tuple[str, str]:
    """A fresh key: its id and its whole text, which is told once and never kept."""
    key_id, secret = _chance(ID_LENGTH), _chance(SECRET_LENGTH)
    body = f"jr_{key_id}_{secret}"
    return key_id, f"{body}_{_check(body)}"


def id_of(text: str) -> str | None:
    """The id inside a key's text; None for what cannot be a key."""
    found = KEY.fullmatch(text)
    if found is None or found[2] != _check(text.rpartition("_")[0]):
        return None
    return found[1]


def digest(text: str) -> str:
    """What is kept of a key, in hexadecimal."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _chance(length: int) -> str:
    return "".join(secrets.choice(_DIGITS) for _ in range(length))


def _check(body: str) -> str:
    rest, told = zlib.crc32(body.encode()), ""
    for _ in range(CHECK_LENGTH):
        rest, digit = divmod(rest, len(_DIGITS))
        told = _DIGITS[digit] + told
    return told
