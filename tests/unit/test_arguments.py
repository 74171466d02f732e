"""Payloads become arguments: typed, complete, and nothing unknown."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import date
from enum import Enum
from typing import Annotated, Any, cast

import pytest
from pydantic import BaseModel, Field, RootModel

from jobrunner.errors import HandlerError, InvalidInput
from jobrunner.handlers.arguments import Arguments
from jobrunner.handlers.context import Channel, Context
from jobrunner.queue.task import Lease, Task

_TASK = Task(Lease(1, "token", 2), "t-1", "x", "{}", "default", 5, 1, None, 3, 0, 0, 0, tags='["a"]')


def _context() -> Context:
    return Context(_TASK, cast(Channel, None))


class Side(Enum):
    BUY = "buy"
    SELL = "sell"


class Order(BaseModel):
    symbol: str
    amount: int = Field(gt=0)


class Open(BaseModel, extra="allow"):
    a: int


class Listed(RootModel[dict[str, int]]):
    pass


def keywords(
    symbols: list[str], day: date, side: Side = Side.BUY, share: Annotated[float, Field(le=1)] = 0.5
) -> None: ...
def odd_names(schema: int, model_config: int, _hidden: int, copy: int) -> None: ...
def untyped(a, b=2): ...  # type: ignore[no-untyped-def]
def anything(a: int, **rest: Any) -> None: ...
def numbers(**rest: int) -> None: ...
def whole(order: Order) -> None: ...
def whole_open(order: Open) -> None: ...
def whole_root(table: Listed) -> None: ...
def order_and_more(order: Order, note: str) -> None: ...
def told(ctx: Context, a: int) -> None: ...
def told_perhaps(a: int, ctx: Context | None = None) -> None: ...
def whole_and_told(ctx: Context, order: Order) -> None: ...
def positional(a: int, /) -> None: ...
def starred(*rest: int) -> None: ...
def unknown(a: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821
def unspeakable(a: Callable[[], object] | Side | memoryview) -> None: ...
def infinite(limit: float = math.inf) -> None: ...


def _problems(function: Callable[..., Any], payload: dict[str, Any]) -> dict[str, str]:
    with pytest.raises(InvalidInput) as refused:
        Arguments.of(function).validate(payload)
    return {problem.pointer: problem.detail for problem in refused.value.problems}


def test_keys_become_typed_keyword_arguments_and_defaults_fill_in() -> None:
    found = Arguments.of(keywords).validate({"symbols": ["a"], "day": "2024-02-29", "side": "sell"})
    assert found == {"symbols": ["a"], "day": date(2024, 2, 29), "side": Side.SELL, "share": 0.5}


def test_every_problem_is_told_where_it_stands() -> None:
    found = _problems(keywords, {"symbols": ["a", 3], "side": "hold", "share": 2, "tpyo": 1})
    assert set(found) == {
        "/task_data/symbols/1",
        "/task_data/day",
        "/task_data/side",
        "/task_data/share",
        "/task_data/tpyo",
    }
    assert found["/task_data/tpyo"] == "unknown argument; known: symbols, day, side, share"


def test_pointers_are_escaped() -> None:
    assert list(_problems(keywords, {"symbols": [], "day": "2024-01-01", "a/b~c": 1})) == ["/task_data/a~1b~0c"]


def test_values_are_never_repeated_in_problems() -> None:
    with pytest.raises(InvalidInput) as refused:
        Arguments.of(keywords).validate({"symbols": "hunter2", "day": "hunter2"})
    assert "hunter2" not in str(refused.value)


def test_parameters_may_have_names_that_pydantic_uses() -> None:
    payload = {"schema": 1, "model_config": 2, "_hidden": 3, "copy": 4}
    arguments = Arguments.of(odd_names)
    assert arguments.validate(payload) == payload
    assert set(arguments.schema()["properties"]) == set(payload)
    assert list(_problems(odd_names, {**payload, "argument_0": 1})) == ["/task_data/argument_0"]


def test_untyped_parameters_take_anything_but_are_still_required() -> None:
    assert Arguments.of(untyped).validate({"a": [None]}) == {"a": [None], "b": 2}
    assert list(_problems(untyped, {})) == ["/task_data/a"]


def test_unknown_keys_pass_only_where_the_handler_takes_them() -> None:
    assert Arguments.of(anything).validate({"a": "1", "b": "x"}) == {"a": 1, "b": "x"}
    assert Arguments.of(numbers).validate({"a": "1"}) == {"a": 1}
    assert list(_problems(numbers, {"a": "x"})) == ["/task_data/a"]


def test_a_single_model_takes_the_whole_object() -> None:
    found = Arguments.of(whole).validate({"symbol": "a", "amount": 2})
    assert isinstance(found["order"], Order)
    assert found["order"].amount == 2
    assert set(_problems(whole, {"amount": 0, "x": 1})) == {"/task_data/symbol", "/task_data/amount", "/task_data/x"}
    assert Arguments.of(whole).schema()["title"] == "Order"


def test_a_model_that_says_itself_what_it_does_with_more_is_believed() -> None:
    assert Arguments.of(whole_open).validate({"a": 1, "b": 2})["order"].model_extra == {"b": 2}
    assert Arguments.of(whole_root).validate({"a": 1})["table"].root == {"a": 1}


def test_a_model_among_others_is_one_key() -> None:
    found = Arguments.of(order_and_more).validate({"order": {"symbol": "a", "amount": 1}, "note": "n"})
    assert found["order"] == Order(symbol="a", amount=1)
    assert list(_problems(order_and_more, {"order": {"symbol": "a"}, "note": "n"})) == ["/task_data/order/amount"]


@pytest.mark.parametrize(
    ("function", "payload"),
    [(told, {"a": 1}), (told_perhaps, {"a": 1}), (whole_and_told, {"symbol": "a", "amount": 1})],
)
def test_the_context_comes_from_the_worker_and_never_from_the_payload(
    function: Callable[..., Any], payload: dict[str, Any]
) -> None:
    arguments = Arguments.of(function)
    context = _context()
    bound = arguments.bind(payload, context)
    assert bound["ctx"] is context
    assert "ctx" not in arguments.schema()["properties"]
    assert list(_problems(function, {**payload, "ctx": 1})) == ["/task_data/ctx"]


def test_the_context_tells_what_it_was_claimed_as() -> None:
    context = _context()
    assert (context.task_id, context.task_type, context.attempt, context.token) == ("t-1", "x", 2, "token")
    assert (context.generation, context.tags, context.traceparent) == (1, ["a"], None)


@pytest.mark.parametrize("function", [positional, starred, unknown, unspeakable])
def test_signatures_that_cannot_be_called_by_key_are_refused(function: Callable[..., Any]) -> None:
    with pytest.raises(HandlerError, match=function.__name__):
        Arguments.of(function)


def test_the_schema_is_json_schema_of_the_payload() -> None:
    schema = Arguments.of(keywords).schema()
    assert schema["additionalProperties"] is False
    assert schema["required"] == ["symbols", "day"]
    assert schema["properties"]["symbols"] == {"items": {"type": "string"}, "title": "symbols", "type": "array"}
    assert schema["properties"]["share"]["maximum"] == 1
    assert "limit" in Arguments.of(infinite).schema()["properties"]
