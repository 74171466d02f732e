"""What an API key is: its text, what of it is kept, and what it allows. Pure.

``jr_<id>_<secret>_<check>``: the id finds the key, 43 base-62 characters hold 256 bits of chance, and the check is the
CRC-32 of all before it, by which scanners of secrets tell a key from a text that only looks like one. Of a key with so
much chance in it a plain SHA-256 is kept: nobody can try them all, so a slow hash would only slow us down.

Beside it the anchor of its passes is kept. A pass is what a session in a browser carries, and there is one for each
week: that of a week, hashed once, is that of the week before. The anchor is the pass of the week in which the key was
made, so that a pass of the n-th week after it is right where n hashes lead to the anchor. Who sees what is kept, as in
a backup, can neither go forward from the anchor nor find the text; who sees a pass can make those of earlier weeks,
which open less, and no later one. Only the text makes passes, CHAIN weeks ahead of its making and no further.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import string
import zlib
from enum import StrEnum
from typing import NamedTuple

_DIGITS = string.digits + string.ascii_uppercase + string.ascii_lowercase
ID_LENGTH, SECRET_LENGTH, CHECK_LENGTH = 10, 43, 6
KEY = re.compile(rf"jr_([0-9A-Za-z]{{{ID_LENGTH}}})_[0-9A-Za-z]{{{SECRET_LENGTH}}}_([0-9A-Za-z]{{{CHECK_LENGTH}}})")
WEEK = 7 * 86_400  # seconds
CHAIN = 1_500  # weeks
_PASS = re.compile(r"[0-9a-f]{64}")


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


class Kept(NamedTuple):
    """What is kept of a key: ``anchor`` is the pass of the week ``since``, counted from 1970."""

    digest: str
    since: int = 0
    anchor: str = ""

    def __str__(self) -> str:
        return f"{self.digest}.{self.since}.{self.anchor}"

    @classmethod
    def of(cls, kept: str) -> Kept:
        """What was kept; a digest alone opens doors and begins no session."""
        told, since, anchor = [*kept.split("."), "", ""][:3]
        return cls(told, int(since or 0), anchor)

    def fits(self, given: str, week: int) -> bool:
        """Whether ``given`` is the pass of this week; the anchor, which others may have seen, is none."""
        steps = week - self.since
        if not self.anchor or not 1 <= steps <= CHAIN or not _PASS.fullmatch(given):
            return False
        return hmac.compare_digest(_hashed(bytes.fromhex(given), steps).hex(), self.anchor)


def kept(text: str, week: int) -> Kept:
    """What to keep of a key that is made in this week."""
    return Kept(digest(text), week, pass_of(text, week, since=week))


def pass_of(text: str, week: int, *, since: int) -> str:
    """The pass of a week, for a key that was made in the week ``since``."""
    last = hmac.digest(text.encode("utf-8", "surrogatepass"), b"the last pass of a jobrunner key", "sha256")
    return _hashed(last, max(0, since + CHAIN - week)).hex()


def _hashed(told: bytes, times: int) -> bytes:
    for _ in range(times):
        told = hashlib.sha256(told).digest()
    return told


def _chance(length: int) -> str:
    return "".join(secrets.choice(_DIGITS) for _ in range(length))


def _check(body: str) -> str:
    rest, told = zlib.crc32(body.encode()), ""
    for _ in range(CHECK_LENGTH):
        rest, digit = divmod(rest, len(_DIGITS))
        told = _DIGITS[digit] + told
    return told
