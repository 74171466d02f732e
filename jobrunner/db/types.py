"""Column types and expressions that read the same in Python and differ between the two databases."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic_core import to_json
from sqlalchemy import CTE, BigInteger, Integer, SelectBase, Text, bindparam, column, select
from sqlalchemy.dialects.postgresql import TIMESTAMP
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql import FromClause
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import ColumnClause, ColumnElement
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator, TypeEngine, UserDefinedType

Id = BigInteger().with_variant(Integer, "sqlite")
"""A row's key: bigint, so that no counter ends at 2,147,483,647. SQLite's own row id must be spelled INTEGER."""

Name = Text(collation="C").with_variant(Text(), "sqlite")
"""Text compared byte by byte on both: a locale's collation made unique keys accept duplicates after an upgrade."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_micros(moment: datetime) -> int:
    """Microseconds since 1970 in UTC; a naive time is refused, since nobody can know what it means."""
    if moment.tzinfo is None:
        raise ValueError(f"naive time {moment.isoformat()}: say its zone")
    return (moment - EPOCH) // timedelta(microseconds=1)


class UTCDateTime(TypeDecorator[datetime]):
    """An instant: timestamptz on PostgreSQL, integer microseconds on SQLite; aware UTC in Python."""

    impl = BigInteger
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "postgresql":
            return dialect.type_descriptor(TIMESTAMP(timezone=True))
        return dialect.type_descriptor(BigInteger())

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        if value is None:
            return None
        micros = to_micros(value)
        return value if dialect.name == "postgresql" else micros

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if isinstance(value, datetime):
            return value.astimezone(UTC)
        return EPOCH + timedelta(microseconds=value)


class JsonText(UserDefinedType[str]):
    """A JSON document, written whole and read as text: jsonb on PostgreSQL, text on SQLite.

    It is decoded row by row by who needs it, so that one document that Python cannot read never poisons a batch.
    """

    cache_ok = True

    def get_col_spec(self, **_kw: Any) -> str:
        return "JSONB"

    def bind_expression(self, bindvalue: Any) -> ColumnElement[Any]:
        return _json_document(bindvalue)

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], str | None]:
        return _json_text


def _json_text(value: Any) -> str | None:
    # Our engines hand over the text; the engine of a caller that joins us in its own transaction decodes it first.
    return value if value is None or isinstance(value, str) else json.dumps(value)


@compiles(JsonText, "sqlite")
def _json_column_sqlite(_type: JsonText, _compiler: Any, **_kw: Any) -> str:
    return "TEXT"


class _json_document(FunctionElement[str]):
    inherit_cache = True


@compiles(_json_document, "postgresql")
def _document_postgresql(element: _json_document, compiler: SQLCompiler, **kw: Any) -> str:
    return f"CAST({compiler.process(element.clauses, **kw)} AS JSONB)"


@compiles(_json_document, "sqlite")
def _document_sqlite(element: _json_document, compiler: SQLCompiler, **kw: Any) -> str:
    return compiler.process(element.clauses, **kw)


class db_now(FunctionElement[datetime]):
    """The database's clock, plus ``seconds`` (a number or an expression): the only clock that decides anything.

    PostgreSQL: ``statement_timestamp()``, since ``now()`` is the start of the transaction and, in a prepared
    statement of an idle connection, was seen to be older than the row it had to find. SQLite: the process's clock,
    through the function that :mod:`jobrunner.db.sqlite` registers.
    """

    type = UTCDateTime()
    inherit_cache = True

    def __init__(self, seconds: Any = None) -> None:
        if seconds is None:
            super().__init__()
        elif isinstance(seconds, int | float):
            super().__init__(bindparam(None, float(seconds), unique=True))
        else:
            super().__init__(seconds)


@compiles(db_now, "postgresql")
def _now_postgresql(element: db_now, compiler: SQLCompiler, **kw: Any) -> str:
    if not len(element.clauses):
        return "statement_timestamp()"
    seconds = compiler.process(element.clauses, **kw)
    return f"(statement_timestamp() + make_interval(secs => CAST({seconds} AS double precision)))"


@compiles(db_now, "sqlite")
def _now_sqlite(element: db_now, compiler: SQLCompiler, **kw: Any) -> str:
    if not len(element.clauses):
        return "(jobrunner_now_ns() / 1000)"
    return f"(jobrunner_now_ns() / 1000 + CAST(({compiler.process(element.clauses, **kw)}) * 1000000 AS INTEGER))"


class spelled(FunctionElement[Any]):
    """A column as the database spells it, of which nothing is asked but its order: text on PostgreSQL."""

    inherit_cache = True


@compiles(spelled, "postgresql")
def _spelled_postgresql(element: spelled, compiler: SQLCompiler, **kw: Any) -> str:
    return f"CAST({compiler.process(element.clauses, **kw)} AS text)"


@compiles(spelled, "sqlite")
def _spelled_sqlite(element: spelled, compiler: SQLCompiler, **kw: Any) -> str:
    return compiler.process(element.clauses, **kw)


class among(FunctionElement[Any]):
    """Whether a row's key is one of those that a query gives: ``among(tasks.c.id, select(chosen.c.id))``.

    PostgreSQL is given an array, so that the rows are found by the key's own index whatever it believes of them. With
    IN it may turn the join round: statistics of a moment without pending tasks made it compare each pending task with
    each chosen one, and a claim take 1,000 ms instead of 10.
    """

    inherit_cache = True  # and no type: of a Boolean one SQLite is asked whether it is 1, which no index answers

    def __init__(self, key: ColumnElement[Any], query: SelectBase) -> None:
        super().__init__(key, query.scalar_subquery())


@compiles(among, "postgresql")
def _among_postgresql(element: among, compiler: SQLCompiler, **kw: Any) -> str:
    key, query = (compiler.process(clause, **kw) for clause in element.clauses)
    return f"{key} = ANY (ARRAY{query})"


@compiles(among, "sqlite")
def _among_sqlite(element: among, compiler: SQLCompiler, **kw: Any) -> str:
    key, query = (compiler.process(clause, **kw) for clause in element.clauses)
    return f"{key} IN {query}"


class keyed(FunctionElement[Any]):
    """Says again what a join says already: ``key`` is one of those that a query gives. True on SQLite.

    PostgreSQL then has a way to the rows by the key's own index in every plan, whichever side the join begins with:
    one that was made while the table was empty went through all of it later.
    """

    inherit_cache = True

    def __init__(self, key: ColumnElement[Any], query: SelectBase) -> None:
        super().__init__(key, query.scalar_subquery())


@compiles(keyed, "postgresql")
def _keyed_postgresql(element: keyed, compiler: SQLCompiler, **kw: Any) -> str:
    key, query = (compiler.process(clause, **kw) for clause in element.clauses)
    return f"{key} = ANY (ARRAY{query})"


@compiles(keyed, "sqlite")
def _keyed_sqlite(_element: keyed, _compiler: SQLCompiler, **_kw: Any) -> str:
    return "1"


class holds(FunctionElement[Any]):
    """Whether a JSON array of texts holds one: ``holds(tasks.c.tags, "urgent")``. Not where the column is NULL."""

    inherit_cache = True

    def __init__(self, array: ColumnElement[Any], value: str) -> None:
        super().__init__(array, bindparam(None, value, type_=Text(), unique=True))


@compiles(holds, "postgresql")
def _holds_postgresql(element: holds, compiler: SQLCompiler, **kw: Any) -> str:
    array, value = (compiler.process(clause, **kw) for clause in element.clauses)
    return f"jsonb_exists({array}, CAST({value} AS text))"  # the function of the operator "?"


@compiles(holds, "sqlite")
def _holds_sqlite(element: holds, compiler: SQLCompiler, **kw: Any) -> str:
    array, value = (compiler.process(clause, **kw) for clause in element.clauses)
    return f"EXISTS (SELECT 1 FROM json_each({array}) AS one WHERE one.value = {value})"  # noqa: S608 - names from code


class within(FunctionElement[Any]):
    """Whether a JSON array of texts holds none but ``values``. Not where the column is NULL."""

    inherit_cache = True

    def __init__(self, array: ColumnElement[Any], values: Iterable[str]) -> None:
        super().__init__(array, bindparam(None, json.dumps(sorted(values)), type_=Text(), unique=True))


@compiles(within, "postgresql")
def _within_postgresql(element: within, compiler: SQLCompiler, **kw: Any) -> str:
    array, values = (compiler.process(clause, **kw) for clause in element.clauses)
    return f"jsonb_contained({array}, CAST({values} AS jsonb))"  # the function of the operator "<@"


@compiles(within, "sqlite")
def _within_sqlite(element: within, compiler: SQLCompiler, **kw: Any) -> str:
    array, values = (compiler.process(clause, **kw) for clause in element.clauses)
    others = f"SELECT value FROM json_each({array}) EXCEPT SELECT value FROM json_each({values})"  # noqa: S608 - names from code
    return f"({array} IS NOT NULL AND NOT EXISTS ({others}))"


class Rows(TypeDecorator[Sequence[Mapping[str, Any]]]):
    """The type of what a ``rowset`` is bound to: a list of rows, as one JSON document."""

    impl = Text
    cache_ok = True

    def __init__(self, instants: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.instants = instants

    def process_bind_param(self, value: Any, dialect: Dialect) -> str:
        for name in self.instants:
            value = [{**row, name: _bound(row.get(name), dialect)} for row in value]
        return to_json(value).decode()  # a third of what json.dumps takes


def _bound(moment: Any, dialect: Dialect) -> Any:
    if not isinstance(moment, datetime):  # None, or as a database spelled it
        return moment
    micros = to_micros(moment)  # refuses a naive time
    return moment.isoformat() if dialect.name == "postgresql" else micros


class _row_select(FunctionElement[Any]):
    inherit_cache = True


def rowset(name: str, /, **columns: TypeEngine[Any]) -> FromClause:
    """Many rows as one bound parameter called ``name``: ``conn.execute(stmt, {name: [{...}, ...]})``.

    One text whatever the number of rows, so that it is prepared once; sent as one JSON document
    (``json_to_recordset`` on PostgreSQL, ``json_each`` on SQLite). Instants are given as aware datetimes, JSON
    documents as text.
    """
    spec = [column(key, kind) for key, kind in columns.items()]
    instants = tuple(key for key, kind in columns.items() if isinstance(kind, UTCDateTime))
    return _row_select(bindparam(name, type_=Rows(instants)), *spec).table_valued(*spec, name=name)


def rowtable(name: str, /, **columns: TypeEngine[Any]) -> CTE:
    """The same for a statement that asks for them more than once; they are read once."""
    rows = rowset(name, **columns)
    return select(*rows.c).cte(f"{name}_rows").prefix_with("MATERIALIZED", dialect="postgresql")


def _row_columns(element: _row_select) -> list[ColumnClause[Any]]:
    return [clause for clause in element.clauses if isinstance(clause, ColumnClause)]


@compiles(_row_select, "postgresql")
def _rows_postgresql(element: _row_select, compiler: SQLCompiler, **kw: Any) -> str:
    document = compiler.process(element.clauses.clauses[0], **kw)
    spec = ", ".join(f"{c.name} {_plain_type(c.type, compiler)}" for c in _row_columns(element))
    return f"(SELECT * FROM json_to_recordset(CAST({document} AS json)) AS given({spec}))"  # noqa: S608 - names from code


def _plain_type(kind: TypeEngine[Any], compiler: SQLCompiler) -> str:
    return compiler.dialect.type_compiler_instance.process(kind).split(" COLLATE ")[0]


@compiles(_row_select, "sqlite")
def _rows_sqlite(element: _row_select, compiler: SQLCompiler, **kw: Any) -> str:
    document = compiler.process(element.clauses.clauses[0], **kw)
    spec = ", ".join(f"json_extract(value, '$.{c.name}') AS {c.name}" for c in _row_columns(element))
    return f"(SELECT {spec} FROM json_each({document}))"  # noqa: S608 - names from code


__all__ = [
    "EPOCH",
    "Id",
    "JsonText",
    "Name",
    "Rows",
    "UTCDateTime",
    "among",
    "db_now",
    "holds",
    "keyed",
    "rowset",
    "rowtable",
    "spelled",
    "to_micros",
    "within",
]
