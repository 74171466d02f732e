"""REST and the page, as one ASGI application. No SQL text, and nothing that knows how the process is built."""

from jobrunner.api.app import create_app
from jobrunner.api.service import NodeFacts, Service

__all__ = ["NodeFacts", "Service", "create_app"]
