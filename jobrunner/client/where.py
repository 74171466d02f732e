"""Where a client asks: a server where a URL is known, else the database of the settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobrunner.client.answers import OF_ARGUMENTS, OF_SETTINGS
from jobrunner.client.http import AsyncHttp, PlainHttp, Verify
from jobrunner.client.place import Place
from jobrunner.client.rest import Rest

if TYPE_CHECKING:
    from jobrunner.settings import Settings


@dataclass(frozen=True)
class Where:
    """What the arguments of a client say of it; see :class:`jobrunner.client.Client`."""

    url: str | None
    api_key: str | None
    database_url: str | None
    config: str | Path | None
    timeout: float
    patience: float
    run_here: bool
    verify: Verify

    def plain(self) -> Callable[[], Place]:
        """What makes one for code that waits in place."""
        return self._place(PlainHttp, lambda: _runners().PlainRunner())

    def looping(self) -> Callable[[], Place]:
        """What makes one for code in a loop."""
        return self._place(AsyncHttp, lambda: _runners().LoopRunner())

    def _place(self, http: type[PlainHttp] | type[AsyncHttp], runner: Callable[[], Any]) -> Callable[[], Place]:
        if self.url is not None and self.database_url is not None:
            raise ValueError("give url or database_url: a server is asked, or its database")
        if self.url is not None and self.config is not None:
            raise ValueError("give url or config, which is about a database here; the key of url's server is api_key")
        settings: Settings | None = None
        url = self.url
        if url is None:
            from jobrunner.settings.server import server_url

            url = None if self.database_url else server_url()
            settings = self._settings()
        if url is None:
            assert settings is not None
            return self._direct(settings, runner)
        key = self.api_key
        if key is None and settings is not None and settings.api_key is not None:
            key = settings.api_key.get_secret_value()
        # A key of the environment goes to the server of the environment alone, and to none that a program names itself.
        advice = OF_SETTINGS if self.url is None else OF_ARGUMENTS
        server = url
        return lambda: Rest(http(server, key, self.verify, advice), timeout=self.timeout, patience=self.patience)

    def _direct(self, settings: Settings, runner: Callable[[], Any]) -> Callable[[], Place]:
        from jobrunner.client.direct import Direct

        return lambda: Direct(settings, runner(), patience=self.patience, run_here=self.run_here)

    def _settings(self) -> Settings:
        from jobrunner.settings import load  # only now: pydantic comes with it

        return load({"database_url": self.database_url, "api_key": self.api_key}, self.config).settings


def _runners() -> Any:
    from jobrunner.client import runners  # only now: SQLAlchemy comes with it

    return runners
