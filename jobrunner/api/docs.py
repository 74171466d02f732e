"""The documentation: the Markdown files of ``web/docs``, as pages under ``/docs`` with a list of them all beside."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import pairwise
from pathlib import Path

from markdown_it.token import Token

from jobrunner.api import language, markdown, web
from jobrunner.api.markdown import Heading, Link

INDEX = "index"
_FILE = re.compile(r"([\w-]+)\.md(#.*)?")


@dataclass(frozen=True)
class Doc:
    """One page in one language, ``tag``. ``html`` needs no escaping: the text can hold no HTML of its own."""

    name: str
    tag: str
    title: str
    html: str
    headings: tuple[Heading, ...]


@dataclass(frozen=True)
class Entry:
    """One page in the list of all: where it is and what it is called there."""

    name: str
    address: str
    title: str


@dataclass(frozen=True)
class Group:
    """Pages of one kind."""

    title: str
    entries: tuple[Entry, ...]


def folder() -> Path:
    """Where the texts are."""
    return web.folder() / "docs"


def find(name: str, tag: str, root: str = "") -> Doc | None:
    """The page of this name, in the language ``tag`` where it is written in it, else in English; None: no such page.

    ``root`` is the path under which this application stands.
    """
    found = _file(name, tag)
    if found is None:
        return None
    path, tag = found
    told = markdown.render(path.read_text(encoding="utf-8"), linker(root))
    title = next((heading.words for heading in told.headings), name)
    return Doc(name, tag, title, told.html, told.headings)


def contents(tag: str, root: str = "") -> tuple[Group, ...]:
    """All pages as the index in this language lists them, by its headings of the second level."""
    found = _file(INDEX, tag)
    assert found is not None, "the index is always there"
    return _groups(found[0].read_text(encoding="utf-8"), linker(root))


@cache
def linker(root: str) -> Link:
    """What turns a link to ``page.md#part`` into the address under ``root``; other links stay as they are."""

    def link(written: str) -> str:
        found = _FILE.fullmatch(written)
        return f"{address(found[1], root)}{found[2] or ''}" if found else written

    return link


def address(name: str, root: str = "") -> str:
    """Where a page is."""
    return f"{root}/docs" if name == INDEX else f"{root}/docs/{name}"


def _file(name: str, tag: str) -> tuple[Path, str] | None:
    """The file of a page, and its language. Only names of files that are there lead to one."""
    for wanted, file in ((tag, f"{name}.{tag}.md"), (language.DEFAULT, f"{name}.md")):
        path = next((path for path in folder().glob("*.md") if path.name == file), None)
        if path is not None and "." not in name:
            return path, wanted
    return None


@lru_cache(maxsize=16)
def _groups(text: str, link: Link) -> tuple[Group, ...]:
    return tuple(_grouped(text, link))


def _grouped(text: str, link: Link) -> Iterator[Group]:
    title, entries = "", list[Entry]()
    tokens = markdown.parse(text)
    for before, token in pairwise(tokens):
        if token.type != "inline":
            continue
        if before.type == "heading_open":
            if entries:
                yield Group(title, tuple(entries))
            title, entries = markdown.words(token), []
            continue
        entries += _first_link(token, link)
    if entries:
        yield Group(title, tuple(entries))


def _first_link(line: Token, link: Link) -> list[Entry]:
    """What a line of the index is about: further links belong to what it says of that."""
    for opens, label in pairwise(line.children or []):
        found = _FILE.fullmatch(str(opens.attrGet("href") or "")) if opens.type == "link_open" else None
        if found:
            return [Entry(found[1], link(found[0]), label.content)]
    return []
