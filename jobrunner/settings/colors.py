"""Whether output has colours: by ``NO_COLOR`` (no-color.org), which is no setting, since every program reads it."""

from __future__ import annotations

import os

VARIABLE = "NO_COLOR"


def wanted() -> bool:
    """Whether a terminal may be shown colours."""
    return not os.environ.get(VARIABLE)


def forbid() -> None:
    """No colours from now on, in this process and in those that it starts."""
    os.environ[VARIABLE] = "1"
