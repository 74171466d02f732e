"""Which failures are the same one: what differs from case to case is folded away. Pure."""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache

LONGEST = 2_000  # characters of an error that are looked at
KEPT = 4_000  # fingerprints: whoever looks at failures sees mostly those that he saw before
_FOLDS = (
    (re.compile(r"\b[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}\b"), "<id>"),
    (re.compile(r"'[^'\n]*'|\"[^\"\n]*\"|`[^`\n]*`"), "<text>"),
    (re.compile(r"\b[a-zA-Z][\w+.-]{0,30}://\S+"), "<url>"),
    (re.compile(r"(?<![\w<])(?:[A-Za-z]:)?(?:[\\/][\w.@+-]+){2,}[\\/]?"), "<path>"),
    (re.compile(r"\b[0-9]+(?:\.[0-9]+)?[eE][+-][0-9]+\b|\b[0-9]+\.[0-9]+\b"), "<n>"),
    (re.compile(r"\b0[xX][0-9a-fA-F]+\b|\b(?=[0-9]*[a-fA-F])(?=[a-fA-F]*[0-9])[0-9a-fA-F]{8,}\b"), "<hex>"),
    (re.compile(r"[0-9]+"), "<n>"),
    (re.compile(r"<n>(?:[.,:_eE+-]*<n>)+"), "<n>"),
    (re.compile(r"\s+"), " "),
)
"""In this order: an id is no row of numbers, and what is quoted no path.

What an error holds is anybody's, so each of these reads it once: nothing without a bound may begin at every character.
"""


def folded(error: str) -> str:
    """The error without what differs from case to case: ids, quoted texts, addresses, paths, hex and numbers."""
    for pattern, instead in _FOLDS:
        error = pattern.sub(instead, error[:LONGEST])
    return error.strip()


@lru_cache(KEPT)
def fingerprint(task_type: str, error_class: str | None, error: str | None) -> str:
    """Sixteen hex digits that failures of one kind share."""
    told = "\0".join((task_type, error_class or "", folded(error or "")))
    return hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()[:16]
