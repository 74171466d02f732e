"""How findings of a check-up are told, and what a command that looked for them exits with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from jobrunner.cli.exits import Exit
from jobrunner.cli.output import document, table, talk

if TYPE_CHECKING:
    from jobrunner.client.checkup import Finding

_FINDING = ("check", "level", "detail", "fix")


def tell_findings(found: Sequence[Finding], as_json: bool, failed: Exit = Exit.TASK_FAILED) -> None:
    """Print them, and how many there are of each level; ends the command with ``failed`` where one is a failure."""
    counts = Counter(str(one.level) for one in found)
    if as_json:
        document({"findings": [vars(one) for one in found], "ok": not counts["fail"]})
    else:
        table(_FINDING, ([getattr(one, name) for name in _FINDING] for one in found))
        talk(f"{counts['ok']} ok, {counts['warn']} to look at, {counts['fail']} failed")
    if counts["fail"]:
        raise typer.Exit(failed)
