"""``cli-reference.md``, made of the commands themselves."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import Any

import typer

from jobrunner.cli.main import app
from tests.docs.tables import table

HEAD = """# The command line, command by command

Made of the commands themselves; `jobrunner COMMAND --help` says the same. \
Where commands look, what they print and their exit codes: [cli.md](cli.md).
"""
_VALUES = {"int": "number", "float": "number", "str": "text", "Path": "path"}


def markdown() -> str:
    """The whole page."""
    return "\n".join([HEAD, *_lines()]).rstrip() + "\n"


def _lines() -> Iterator[str]:
    group: Any = typer.main.get_command(app)
    yield from table(("option", "value", "meaning"), map(_option, _shown(group, "option")))
    for name, command in sorted(_commands(group, "")):
        yield from (f"## {name}", "", *_paragraphs(command.help or command.short_help or ""))
        usage = [f"jobrunner {name}", *map(_usage, _shown(command, "argument")), "[OPTIONS]"]
        yield from ("```text", " ".join(usage), "```", "")
        yield from table(
            ("argument", "meaning"), ((f"`{_metavar(one)}`", one.help or "") for one in _shown(command, "argument"))
        )
        yield from table(("option", "value", "meaning"), map(_option, _shown(command, "option")))
        yield from _examples(command.epilog or "")


def _commands(group: Any, before: str) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if command.hidden:
            continue
        if hasattr(command, "commands"):
            yield from _commands(command, f"{before}{name} ")
        else:
            yield f"{before}{name}", command


def _shown(command: Any, kind: str) -> list[Any]:
    return [one for one in command.params if one.param_type_name == kind and not getattr(one, "hidden", False)]


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in text.split("\n\n"):
        yield from (" ".join(paragraph.split()), "")


def _metavar(argument: Any) -> str:
    told: str = argument.metavar or argument.name.upper()
    return told.removeprefix("[").removesuffix("...").removesuffix("]")


def _usage(argument: Any) -> str:
    told = _metavar(argument)
    told = told if argument.required else f"[{told}]"
    return f"{told}..." if argument.nargs == -1 else told


def _option(option: Any) -> tuple[str, str, str]:
    names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    told = [option.help or ""]
    if option.envvar:
        told.append(f"Environment: `{option.envvar}`.")
    if option.show_default and option.default not in (None, False, "", [], ()) and not callable(option.default):
        told.append(f"Default: `{option.default}`.")
    return names, _value(option), " ".join(told)


def _value(option: Any) -> str:
    if option.is_flag:
        return ""
    if option.metavar:
        return f"`{option.metavar}`"
    kind = option.type_descriptor.annotation
    inner = getattr(kind, "__args__", (kind,))[0]
    if issubclass(inner, Enum):
        told = ", ".join(f"`{one.value}`" for one in inner)
        return f"{told}; several times" if option.multiple else told
    told = _VALUES[inner.__name__]
    return f"{told}, several times" if option.multiple else told


def _examples(epilog: str) -> Iterator[str]:
    commands = [line.removeprefix("Example: ") for line in epilog.splitlines()]
    commands = [line for line in commands if line.startswith("jobrunner ")]
    if commands:
        yield from ("```bash", *commands, "```", "")
