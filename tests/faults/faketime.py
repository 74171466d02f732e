"""Wrong clocks by libfaketime: a Debian package, which no wheel brings."""

from __future__ import annotations

from pathlib import Path

import pytest

LIBRARY = "usr/lib/*/faketime/libfaketimeMT.so.1"


def library() -> str:
    """Its path; skips the test where it is not installed."""
    for found in Path("/").glob(LIBRARY):
        return str(found)
    # No wheel brings it, so a user's machine may well have none; the rest of the suite does not need it.
    pytest.skip("libfaketime is not installed: apt-get install faketime")


def loader(skew: Path) -> dict[str, str]:
    """The environment of a process that reads from this file, such as ``-90s``, what its clock is wrong by.

    The monotonic clock stays: it is the same for all wrong clocks of this world, and waits are measured by it.
    """
    told = {"LD_PRELOAD": library(), "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    return {**told, "FAKETIME_TIMESTAMP_FILE": str(skew), "FAKETIME_NO_CACHE": "1"}
