"""Settings as text for people, secrets masked."""

from __future__ import annotations

import json
from typing import Any

from pydantic import SecretStr

from jobrunner.settings.loading import Loaded
from jobrunner.text import MASK, mask


def shown(loaded: Loaded) -> list[tuple[str, str, str]]:
    """Every setting as (key, value, source): empty text for what is not set, secrets masked, lists with commas."""
    return [(key, _text(getattr(loaded.settings, key)), source) for key, source in loaded.sources.items()]


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, SecretStr):
        return MASK
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:g}" if value < 1e6 else repr(value)
    if isinstance(value, tuple):
        if any(isinstance(part, dict) for part in value):
            return mask(json.dumps(value, ensure_ascii=False))
        value = ",".join(map(str, value))
    return mask(str(value))
