"""Small changes of the checker's own code, one at a time: each has to be noticed by a case of its tests."""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from tests.faults import check_ends, check_moves

MODULES = (check_ends, check_moves)
_OTHER: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
Edit = Callable[[Any], None]


@dataclass(frozen=True)
class CheckerMutant:
    """One change of one line; ``judges`` are those of the changed module, in the place of its own."""

    module: ModuleType
    line: int
    what: str
    source: str

    def __str__(self) -> str:
        return f"{Path(self.module.__file__ or '').name}:{self.line} {self.what}"

    def judges(self) -> tuple[Callable[..., Any], ...]:
        """All judges, with those of the changed module for its own."""
        changed = ModuleType(f"{self.module.__name__}_changed")
        exec(compile(self.source, str(self), "exec"), changed.__dict__)
        return tuple(judge for module in MODULES for judge in (changed if module is self.module else module).JUDGES)


def checker_mutants() -> Iterator[CheckerMutant]:
    """Each comparison turned or moved by one, each operand left out, each condition negated, each number made more."""
    for module in MODULES:
        tree = ast.parse(Path(module.__file__ or "").read_text())
        for place, node in enumerate(ast.walk(tree)):
            for what, edit in _edits(node):
                changed = copy.deepcopy(tree)
                edit(list(ast.walk(changed))[place])
                told = f"{what}: {ast.unparse(node)}"
                yield CheckerMutant(module, getattr(node, "lineno", 0), told, ast.unparse(changed))


def _edits(node: ast.AST) -> Iterator[tuple[str, Edit]]:
    match node:
        case ast.Compare(ops=ops):
            for place, op in enumerate(ops):
                yield f"turned at {place}", partial(_put, place, _OTHER[type(op)]())
        case ast.BoolOp(values=values):
            for place in range(len(values)):
                yield f"without operand {place}", partial(_drop, place)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield "not negated", partial(_set, "operand", ast.UnaryOp(ast.Not(), operand))
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            yield "more", partial(_set, "value", number + 1 if isinstance(number, int) else number * 1.5)


def _put(place: int, op: ast.cmpop, node: Any) -> None:
    node.ops[place] = op


def _drop(place: int, node: Any) -> None:
    del node.values[place]


def _set(name: str, value: Any, node: Any) -> None:
    setattr(node, name, value)
