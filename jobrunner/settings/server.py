"""Which running jobrunner to ask, where the environment names one: no setting, since it is for who asks."""

from __future__ import annotations

import os
from collections.abc import Mapping

VARIABLE = "JOBRUNNER_URL"


def server_url(environ: Mapping[str, str] | None = None) -> str | None:
    """The URL in ``JOBRUNNER_URL``; None where it is not set or empty."""
    return (os.environ if environ is None else environ).get(VARIABLE) or None
