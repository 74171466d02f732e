"""Text that people read: control characters made visible, secrets masked. Pure functions, no I/O."""

from __future__ import annotations

import re

MASK = "***"
NAME_MAX = 200  # characters of a task_id, type, queue, key or node
UNFIT = "\\x00-\\x1f\\x7f-\\x9f\\ud800-\\udfff"
"""What no name may hold, for a character class: Unicode's categories Cc and Cs, both of which will never grow."""

_CONTROL = re.compile(f"[{UNFIT}]")

_UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_UNSEEN_OR_BREAKING = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_SECRET_NAME = re.compile(r"passw|pwd|token|secret|api[_-]?key|authorization|dsn|cookie|credential", re.IGNORECASE)

# The password runs to the last @ of the word, since people forget to encode @ and /; a port is no password.
# The bound keeps hostile text linear.
_IN_URL = re.compile(r"(://[^\s/:@?#]{0,255}:)(?!\d{1,5}(?:[/?#\s]|$))\S{0,2048}@")
_ASSIGNED = re.compile(
    r"""(?ix) ((?:passw(?:or)?d|pwd|token|secret|api[_-]?key)["']? \s{0,9} (?:=|(?<=["'])\s?[:,]) \s{0,9}
            (?:b(?=["']))?)
        ( "[^"]*"? | '[^']*'? | [^\s&;,"')\]}]+ )"""
)
_HEADER = re.compile(
    r"""(?ix) (\b(?:x-api-key|authorization|cookie)["']? \s{0,9} [:=,] \s{0,9} (?:b(?=["']))? ["']?) [^\r\n"',)}\]]+"""
)
_SCHEME = re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{6,}")


def has_controls(text: str) -> bool:
    """Whether ``text`` holds what no name may hold: a control character or half a surrogate pair."""
    return _CONTROL.search(text) is not None


def visible(text: str, *, one_line: bool = False) -> str:
    r"""``text`` with NUL, lone surrogates and control characters spelled out (``\x1b``), so that it can be stored.

    Newlines and tabs stay, unless ``one_line`` asks for text that cannot break or forge a line.
    """
    return (_UNSEEN_OR_BREAKING if one_line else _UNSEEN).sub(_spelled, text)


def _spelled(match: re.Match[str]) -> str:
    return match.group().encode("unicode_escape", "surrogatepass").decode("ascii")


def is_secret(name: str) -> bool:
    """Whether a value of this name is never to be shown: password, token, api_key and their like."""
    return _SECRET_NAME.search(name) is not None


def mask(text: str) -> str:
    """``text`` with passwords in URLs, ``password=...``, API keys in headers and bearer tokens masked.

    It errs towards masking too much.
    """
    if "://" in text and "@" in text:
        text = _IN_URL.sub(rf"\1{MASK}@", text)
    text = _HEADER.sub(rf"\1{MASK}", text)
    text = _ASSIGNED.sub(rf"\1{MASK}", text)
    return _SCHEME.sub(rf"\1 {MASK}", text)
