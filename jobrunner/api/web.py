"""Where templates, catalogues and static files are, and the static files ready to send."""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".json": "application/json"}
_SMALL = 256  # bytes: not worth compressing


@dataclass(frozen=True)
class Asset:
    """One static file in memory; ``packed`` is its gzip, empty where that saves nothing."""

    content: bytes
    packed: bytes
    media_type: str
    version: str


def folder() -> Path:
    """The ``web`` folder: inside the package when installed, else that of the checkout."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "_web"
    return installed if installed.is_dir() else package.parent / "web"


@cache
def assets() -> dict[str, Asset]:
    """Every static file by its path under ``/static/``; nothing else can be asked for."""
    home = folder() / "static"
    return {path.relative_to(home).as_posix(): _asset(path) for path in sorted(home.rglob("*")) if path.is_file()}


def versioned(name: str) -> str:
    """The address of a static file, which changes whenever its content does."""
    return f"/static/{name}?v={assets()[name].version}"


def _asset(path: Path) -> Asset:
    content = path.read_bytes()
    media_type = _TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "text/plain"
    packed = gzip.compress(content, mtime=0) if len(content) > _SMALL else b""
    version = hashlib.sha256(content).hexdigest()[:12]
    return Asset(content, packed if len(packed) < len(content) else b"", media_type, version)
