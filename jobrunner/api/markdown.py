"""Markdown into HTML that keeps the page's policy: no HTML of its own, no style, an anchor for every heading."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import OptionsDict

Env = MutableMapping[str, Any]
Link = Callable[[str], str]
"""From an address as it is written to the one that a reader's browser asks for."""

_KEPT = 128  # texts


@dataclass(frozen=True)
class Heading:
    """One heading: ``level`` 1 to 6, its words without marks, and the anchor that leads to it."""

    level: int
    words: str
    anchor: str


@dataclass(frozen=True)
class Rendered:
    """A text as HTML, with its headings in their order."""

    html: str
    headings: tuple[Heading, ...]


@lru_cache(maxsize=_KEPT)
def render(text: str, link: Link) -> Rendered:
    """Render a text; ``link`` says where its links lead. The same text and the same ``link`` are rendered once."""
    parser = _parser()
    tokens = parser.parse(text)
    found = _anchored(tokens)
    for token in _all(tokens):
        if token.type == "link_open":
            token.attrSet("href", link(str(token.attrGet("href") or "")))
        elif token.type in ("th_open", "td_open"):
            _without_style(token)
    return Rendered(parser.renderer.render(tokens, parser.options, {}), tuple(found))


def parse(text: str) -> list[Token]:
    """The text's tokens as markdown-it tells them, for who reads a text's parts."""
    return _parser().parse(text)


def words(inline: Token) -> str:
    """What a reader sees of a line: its text without marks."""
    return "".join(child.content for child in inline.children or [] if child.type in ("text", "code_inline"))


@cache
def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    parser.add_render_rule("table_open", _table_open)
    parser.add_render_rule("table_close", _table_close)
    parser.add_render_rule("fence", _fence)
    parser.add_render_rule("heading_close", _heading_close)
    return parser


def _anchored(tokens: Sequence[Token]) -> list[Heading]:
    """Give each heading its anchor, named as GitHub names them, so that links hold in both places."""
    found: list[Heading] = []
    taken: Counter[str] = Counter()
    for token, inline, close in zip(tokens, tokens[1:], tokens[2:], strict=False):
        if token.type != "heading_open":
            continue
        told = words(inline)
        anchor = re.sub(r"[^\w -]", "", told.lower()).strip().replace(" ", "-")
        taken[anchor] += 1
        if taken[anchor] > 1:
            anchor = f"{anchor}-{taken[anchor] - 1}"
        token.attrSet("id", anchor)
        close.meta["anchor"] = anchor
        found.append(Heading(int(token.tag[1:]), told, anchor))
    return found


def _all(tokens: Sequence[Token]) -> list[Token]:
    return [one for token in tokens for one in (token, *(token.children or []))]


def _without_style(cell: Token) -> None:
    """A column's alignment comes as a style, which the policy refuses: a class says the same."""
    style = str(cell.attrs.pop("style", ""))
    if style.endswith("right"):
        cell.attrJoin("class", "end")
    if cell.tag == "th":
        cell.attrSet("scope", "col")


def _table_open(_renderer: RendererHTML, _tokens: Sequence[Token], _at: int, _options: OptionsDict, _env: Env) -> str:
    return '<div class="scroll" tabindex="0"><table>\n'


def _table_close(_renderer: RendererHTML, _tokens: Sequence[Token], _at: int, _options: OptionsDict, _env: Env) -> str:
    return "</table></div>\n"


def _fence(renderer: RendererHTML, tokens: Sequence[Token], at: int, options: OptionsDict, env: Env) -> str:
    """Code that is wider than the screen is scrolled, with the keyboard too."""
    return renderer.fence(tokens, at, options, env).replace("<pre>", '<pre tabindex="0">', 1)


def _heading_close(renderer: RendererHTML, tokens: Sequence[Token], at: int, options: OptionsDict, _env: Env) -> str:
    mark = f' <a class="anchor" href="#{tokens[at].meta["anchor"]}" aria-hidden="true" tabindex="-1">#</a>'
    return mark + renderer.renderToken(tokens, at, options, _env)
