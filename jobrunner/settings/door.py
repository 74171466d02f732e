"""Whether the API may open its port as it is set."""

from __future__ import annotations

import ssl

from jobrunner.errors import SettingsError
from jobrunner.settings.keys import Settings
from jobrunner.settings.loopback import is_loopback


def check_door(settings: Settings, *, has_key: bool) -> None:
    """Refuse to serve the network without a key or an allow-list.

    ``has_key`` tells that the database knows one. Call it before a port answers. Raises SettingsError naming the lines
    that mend it.
    """
    if is_loopback(settings.host) or settings.api_key is not None or settings.allow_from or has_key:
        return
    raise SettingsError(
        f"host {settings.host} opens the API to the network, and neither a key nor allow_from closes it. Mend it with "
        "one of: JOBRUNNER_HOST=127.0.0.1 · JOBRUNNER_ALLOW_FROM=10.0.0.0/8 (your clients' networks) · "
        "JOBRUNNER_API_KEY set to a long random text · jobrunner keys create NAME --scope admin; "
        "in the file: host, allow_from, api_key"
    )


def check_tls(settings: Settings) -> None:
    """Refuse TLS files that are not there, or no certificate and its key; raises SettingsError."""
    problems = []
    if settings.ssl_keyfile and not settings.ssl_certfile:
        problems.append("ssl_keyfile is set without ssl_certfile: set JOBRUNNER_SSL_CERTFILE to the certificate's file")
    for key in ("ssl_keyfile", "ssl_certfile"):
        path = getattr(settings, key)
        if path is not None and not path.is_file():
            problems.append(f"{key}: there is no file {path}")
    if problems:
        raise SettingsError("\n".join(problems))
    if settings.ssl_certfile is not None:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(settings.ssl_certfile, settings.ssl_keyfile)
        except (ssl.SSLError, OSError) as error:
            raise SettingsError(
                f"ssl_certfile {settings.ssl_certfile} and ssl_keyfile {settings.ssl_keyfile or 'in it'} are no "
                f"certificate (PEM, with the chain) and its key: {error}"
            ) from None
