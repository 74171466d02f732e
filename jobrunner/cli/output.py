"""Data to standard output, talk to standard error; tables on a terminal, tab-separated lines elsewhere."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, TextIO

import typer

from jobrunner.cli.exits import Exit
from jobrunner.cli.fitting import fit
from jobrunner.text import visible

SHOWN = 500  # characters of an error on a terminal, where it would push all else out of sight

if TYPE_CHECKING:
    from rich.table import Table

_STATUS_STYLE = {
    "completed": "green",
    "ok": "green",
    "running": "cyan",
    "active": "green",
    "failed": "red",
    "late": "red",
    "no_node": "red",
    "cancelled": "yellow",
}


class NobodyReads(Exception):
    """Who read the output, such as head, had enough. Told apart here, since typer ends on a broken pipe by itself."""


def talk(text: str) -> None:
    """Say something to the person, on standard error."""
    _print(visible(text), sys.stderr)


def confirm() -> None:
    """Ask the person whether to go on; ends the command where not."""
    if not typer.confirm("Go on?", err=True):
        talk("Nothing is changed.")
        raise typer.Exit(Exit.INTERRUPTED)


def document(data: Any) -> None:
    """One JSON document on standard output; indented on a terminal, in ASCII elsewhere whatever its encoding is."""
    seen = sys.stdout.isatty()
    _print(_no_controls(json.dumps(data, indent=2 if seen else None, ensure_ascii=not seen)))


def line(data: Any) -> None:
    """One JSON document on one line of standard output, in ASCII."""
    _print(json.dumps(data))


def _no_controls(text: str) -> str:
    """JSON itself escapes the lower control characters only; a terminal obeys the upper ones too."""
    return re.sub("[\x7f-\x9f]", lambda found: f"\\u{ord(found.group()):04x}", text)


def plain(text: str) -> None:
    """One text on standard output."""
    _print(visible(text))


def _print(text: str, stream: TextIO | None = None) -> None:
    try:
        print(text, file=stream or sys.stdout, flush=True)
    except BrokenPipeError:
        raise NobodyReads from None


def table(headers: Sequence[str], rows: Iterable[Sequence[Any]], *, unseen: Sequence[str] = ()) -> None:
    """Rows under their headers; missing values are empty. Times are this machine's on a terminal, else as in JSON.

    A terminal shows the columns without those in ``unseen``, and of the others those that it has room for.
    """
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        _tabbed(headers, rows)
        return
    made, left_out = _made(headers, rows, unseen, console.width)
    console.print(made)
    if left_out:
        talk(f"No room in {console.width} columns for: {', '.join(map(_label, left_out))}. All of it: --json")


def _tabbed(headers: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    lines = ("\t".join(visible(_cell(value), one_line=True) for value in row) for row in [headers, *rows])
    _print("\n".join(lines))


def drawn(headers: Sequence[str], rows: Iterable[Sequence[Any]], *, unseen: Sequence[str] = ()) -> Table:
    """The same as this terminal has room for it."""
    from rich.console import Console

    return _made(headers, rows, unseen, Console().width)[0]


def _made(
    headers: Sequence[str], rows: Iterable[Sequence[Any]], unseen: Sequence[str], room: int
) -> tuple[Table, tuple[str, ...]]:
    """A table that fits ``room`` cells, and the names of the columns that do not."""
    from rich.cells import cell_len
    from rich.table import Table
    from rich.text import Text

    seen = [position for position, header in enumerate(headers) if header not in unseen]
    texts = [[visible(_cell(_local(row[position])), one_line=True) for position in seen] for row in rows]
    names = [headers[position] for position in seen]
    lengths = [[cell_len(row[at]) for row in texts] for at in range(len(names))]
    natural = [max([cell_len(_label(name)), *cells]) for name, cells in zip(names, lengths, strict=True)]
    fitting = fit(names, natural, [bool(cells) and not any(cells) for cells in lengths], room)
    made = Table(box=None, header_style="bold", pad_edge=False, padding=(0, fitting.gap, 0, 0))
    for at, width in fitting.widths.items():
        made.add_column(_label(names[at]), overflow="fold", width=width)
    for row in texts:
        made.add_row(*(Text(row[at], _STATUS_STYLE.get(row[at], "")) for at in fitting.widths))
    return made, fitting.left_out


def _label(header: str) -> str:
    return header.replace("_percent", " %").replace("_", " ")


def facts(pairs: Iterable[tuple[str, Any]]) -> None:
    """One thing: its names and values, a line each; what is not known is left out."""
    from rich.console import Console
    from rich.text import Text

    console = Console()
    told = [(name, value) for name, value in pairs if value not in (None, "", [], {})]
    if not console.is_terminal:
        if told:
            _print("\n".join(f"{name}\t{visible(_cell(value), one_line=True)}" for name, value in told))
        return
    width = max((len(name) for name, _ in told), default=0)
    for name, value in told:
        text = visible(_cell(_local(value))).replace("\n", "\n" + " " * (width + 2))
        label = (f"{name:<{width}}  ", "bold")
        console.print(Text.assemble(label, (text, _STATUS_STYLE.get(text, ""))), soft_wrap=True)


def shortened(text: str | None) -> str | None:
    """The beginning of a long text on a terminal, with the way to all of it; elsewhere as it is."""
    if text is None or len(text) <= SHOWN or not sys.stdout.isatty():
        return text
    return f"{text[:SHOWN]}... ({len(text):,} characters: all of it with --json)"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{round(value, 3):.15g}"
    if isinstance(value, list | tuple) and all(isinstance(part, str) for part in value):
        return ",".join(value)
    if isinstance(value, dict | list | tuple):
        return json.dumps(value, ensure_ascii=False)
    return str(value)


def _local(value: Any) -> Any:
    """A wire time as this machine's clock shows it; anything else as it is."""
    if isinstance(value, str) and len(value) == 27 and value.endswith("Z"):
        try:
            return datetime.fromisoformat(value).astimezone().strftime("%Y-%m-%d %H:%M:%S")
        except ValueError:
            return value  # a text that only looked like a time
    return value
