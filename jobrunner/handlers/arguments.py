"""How a payload becomes the arguments of a handler: a pydantic model made from the function's signature."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from types import GenericAlias, UnionType
from typing import Any, Union, cast, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, RootModel, ValidationError, create_model
from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaWarningKind

from jobrunner.errors import HandlerError, InvalidInput, Problem
from jobrunner.handlers.context import Context

_ROOT = "/task_data"


@dataclass(frozen=True)
class Arguments:
    """The parameters of one handler. ``fields`` maps them to the model's fields; ``whole`` names the one that takes
    the payload as a model; ``contexts`` are those that receive the Context.
    """

    model: type[BaseModel]
    fields: dict[str, str]
    whole: str | None
    contexts: tuple[str, ...]

    @classmethod
    def of(cls, function: Callable[..., Any]) -> Arguments:
        """Read a signature; raises HandlerError where it cannot take keyword arguments or has unknown types."""
        try:
            return _read(function)
        except (PydanticSchemaGenerationError, PydanticUserError, NameError, TypeError) as error:
            raise HandlerError(f"the arguments of {_name(function)} cannot be checked: {error}") from error

    def check(self, payload: dict[str, Any]) -> BaseModel:
        """The model made from a payload; raises InvalidInput with pointers under ``/task_data``."""
        try:
            found: BaseModel = self.model.__pydantic_validator__.validate_python(payload)  # model_validate, straight
            return found
        except ValidationError as error:
            raise InvalidInput("task_data does not fit its handler", _problems(error, self._known)) from None

    def validate(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Keyword arguments from a payload; raises InvalidInput."""
        found = self.check(payload)
        if self.whole is not None:
            return {self.whole: found}
        given = dict(found.model_extra or ())
        for name, field in self.fields.items():
            given[name] = getattr(found, field)
        return given

    def bind(self, payload: dict[str, Any], context: Context) -> dict[str, Any]:
        """The same with the Context where the handler asked for it."""
        given = self.validate(payload)
        for name in self.contexts:
            given[name] = context
        return given

    def schema(self) -> dict[str, Any]:
        """The JSON Schema of the payload."""
        return self.model.model_json_schema(schema_generator=_Schema)

    @cached_property
    def _known(self) -> tuple[str, ...]:
        return tuple(self.schema().get("properties", ()))


class _Schema(GenerateJsonSchema):
    # Warnings are for people; a default that JSON cannot say is simply not shown.
    ignored_warning_kinds: set[JsonSchemaWarningKind] = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012


def _read(function: Callable[..., Any]) -> Arguments:
    hints = get_type_hints(function, include_extras=True)
    contexts: list[str] = []
    named: list[inspect.Parameter] = []
    rest: inspect.Parameter | None = None
    for parameter in inspect.signature(function).parameters.values():
        if _is_context(hints.get(parameter.name)):
            contexts.append(parameter.name)
        elif parameter.kind is inspect.Parameter.VAR_KEYWORD:
            rest = parameter
        elif parameter.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.POSITIONAL_ONLY):
            raise HandlerError(f"{_name(function)} takes {parameter}: payload keys become keyword arguments")
        else:
            named.append(parameter)
    if len(named) == 1 and rest is None and _is_model(hints.get(named[0].name)):
        return Arguments(_closed(hints[named[0].name]), {}, named[0].name, tuple(contexts))
    fields = {parameter.name: f"argument_{place}" for place, parameter in enumerate(named)}
    spec: dict[str, Any] = {
        fields[p.name]: (
            hints.get(p.name, Any),
            Field(... if p.default is p.empty else p.default, alias=p.name, title=p.name),
        )
        for p in named
    }
    model = create_model(function.__name__, __base__=_base(rest, hints), **spec)
    return Arguments(model, fields, None, tuple(contexts))


def _base(rest: inspect.Parameter | None, hints: dict[str, Any]) -> type[BaseModel]:
    # Fields have names of our own and the parameters' as aliases: a parameter called "schema", "_x" or "model_x"
    # would clash with pydantic's.
    body: dict[str, Any] = {"__module__": __name__, "model_config": ConfigDict(extra="allow" if rest else "forbid")}
    if rest is not None and rest.name in hints:
        body["__annotations__"] = {"__pydantic_extra__": GenericAlias(dict, (str, hints[rest.name]))}
    return _derive("Payload", BaseModel, body)


def _closed(model: type[BaseModel]) -> type[BaseModel]:
    if model.model_config.get("extra") is not None or issubclass(model, RootModel):
        return model
    closed = {"__module__": model.__module__, "__doc__": model.__doc__, "model_config": ConfigDict(extra="forbid")}
    return _derive(model.__name__, model, closed)


def _derive(name: str, base: type[BaseModel], body: dict[str, Any]) -> type[BaseModel]:
    metaclass: Any = type(base)
    return cast(type[BaseModel], metaclass(name, (base,), body))


def _is_model(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, BaseModel)


def _is_context(hint: Any) -> bool:
    if get_origin(hint) in (Union, UnionType):
        return any(_is_context(choice) for choice in get_args(hint))
    return isinstance(hint, type) and issubclass(hint, Context)


def _problems(error: ValidationError, known: tuple[str, ...]) -> list[Problem]:
    found = []
    for each in error.errors(include_url=False, include_context=False, include_input=False):
        pointer = _ROOT + "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in each["loc"])
        detail = each["msg"]
        if each["type"] == "extra_forbidden" and len(each["loc"]) == 1:
            detail = f"unknown argument; known: {', '.join(known) or 'none'}"
        found.append(Problem(pointer, detail))
    return found


def _name(function: Callable[..., Any]) -> str:
    return f"{function.__module__}.{function.__qualname__}"
