"""Databases for every test: SQLite files, and a PostgreSQL that is found or started, never skipped."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from jobrunner.db import migrate
from jobrunner.handlers import registry
from tests.postgres import Databases, PrivateServer, Source, open_source
from tests.postgres.binaries import NoPostgres
from tests.processes import Processes

TEST_DATA = "JOBRUNNER_TEST_DATA"

# Hundreds of processes are started here, and each would compile the whole program for itself: 0.3 s.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# No example is timed: on a busy machine the first one took 0.34 s, of which it may take 0.2 otherwise.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

_source = pytest.StashKey[Source | NoPostgres]()


def _found(config: pytest.Config) -> Source | NoPostgres:
    """The server of this run, started when it is first needed, or why there is none."""
    if _source not in config.stash:
        try:
            config.stash[_source] = open_source()
        except NoPostgres as reason:
            config.stash[_source] = reason
    return config.stash[_source]


class _ForWorkers:
    """With pytest-xdist the main process starts the server, so that its workers share one."""

    def pytest_configure_node(self, node: object) -> None:
        config: pytest.Config = node.config  # type: ignore[attr-defined]
        given: dict[str, str] = node.workerinput  # type: ignore[attr-defined]
        source = _found(config)
        if isinstance(source, NoPostgres):
            given["no_postgres"] = str(source)
        else:
            given["postgres"], given["postgres_told"] = source.url, source.told


def pytest_configure(config: pytest.Config) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell's job in the background; what is tested inherits it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    given: dict[str, str] | None = getattr(config, "workerinput", None)
    if given is None:
        if config.pluginmanager.hasplugin("xdist"):
            config.pluginmanager.register(_ForWorkers())
    elif "postgres" in given:
        config.stash[_source] = Source(given["postgres"], given["postgres_told"], lambda: None)
    else:
        config.stash[_source] = NoPostgres(given["no_postgres"])


def pytest_unconfigure(config: pytest.Config) -> None:
    source = config.stash.get(_source, None)
    if isinstance(source, Source):
        source.close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    source = config.stash.get(_source, None)
    if source is None:
        told = "not needed by these tests"
    else:
        told = source.told if isinstance(source, Source) else f"NONE: {source}"
    terminalreporter.write_line(f"postgres: {told}", red=isinstance(source, NoPostgres))


@pytest.fixture(autouse=True)
def _no_tasks_of_others(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each child would import all that other packages' tests registered in this process: 1.8 s instead of 0.4."""
    ours, every = f"{request.node.module.__package__}.", registry.modules
    monkeypatch.setattr(
        registry,
        "modules",
        lambda: tuple(name for name in every() if name.startswith(ours) or not name.startswith("tests.")),
    )


@pytest.fixture(scope="session")
def _databases(request: pytest.FixtureRequest) -> Iterator[Databases]:
    source = _found(request.config)
    if isinstance(source, NoPostgres):
        pytest.fail(str(source), pytrace=False)
    databases = Databases(source.url)
    yield databases
    databases.close()


@pytest.fixture(scope="session")
def postgres_server_url(_databases: Databases) -> str:
    """The server on which all databases of this run are made."""
    return _databases.url


@pytest.fixture
def empty_postgres_url(_databases: Databases) -> Iterator[str]:
    """A new PostgreSQL database without any table."""
    url = _databases.create(migrated=False)
    yield url
    _databases.drop(url)


@pytest.fixture
def postgres_url(_databases: Databases) -> Iterator[str]:
    """A new PostgreSQL database, migrated."""
    url = _databases.create()
    yield url
    _databases.drop(url)


@pytest.fixture(scope="session")
def _sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "jobrunner.db"
    migrate.upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture
def empty_sqlite_url(tmp_path: Path) -> str:
    """A SQLite file that does not exist yet."""
    return f"sqlite:///{tmp_path / 'jobrunner.db'}"


@pytest.fixture
def sqlite_url(tmp_path: Path, _sqlite_template: Path) -> str:
    """A new SQLite file, migrated."""
    return f"sqlite:///{shutil.copy(_sqlite_template, tmp_path / 'jobrunner.db')}"


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest) -> str:
    """A new migrated database: the test runs once on each kind."""
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture(params=["sqlite", "postgres"])
def empty_database_url(request: pytest.FixtureRequest) -> str:
    """A new database without any table: the test runs once on each kind."""
    return str(request.getfixturevalue(f"empty_{request.param}_url"))


@pytest.fixture
def private_server() -> Iterator[PrivateServer]:
    """A running PostgreSQL server that belongs to this test alone, with an empty database ``postgres``."""
    try:
        server = PrivateServer()
    except NoPostgres as reason:
        pytest.fail(str(reason), pytrace=False)
    with server:
        yield server


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real market files named by ``JOBRUNNER_TEST_DATA``."""
    folder = os.environ.get(TEST_DATA)
    if not folder:
        pytest.skip(f"{TEST_DATA} is not set: it names the folder with the real market files")
    return Path(folder).resolve(strict=True)


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    """Starts jobrunner processes in ``tmp_path``. A test fails when one of them, or a child of one, outlives it."""
    started = Processes(tmp_path)
    yield started
    complaints = started.close()
    if complaints:
        pytest.fail("\n".join(complaints), pytrace=False)
