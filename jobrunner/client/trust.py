"""What is told where somebody answers whose certificate nobody here vouches for."""

from __future__ import annotations

TRUST = "set SSL_CERT_FILE to the file (PEM) of the authority that signed it, or to the certificate itself"


def distrusted(error: Exception) -> str | None:
    """Why a certificate is refused, where naming its authority helps; None for any other error."""
    why = refused_for(error)
    return why if why is not None and ("self-signed" in why or "issuer" in why) else None


def refused_for(error: Exception) -> str | None:
    """Why a certificate is refused, such as for another name or an end that has passed; None for any other error."""
    _, failed, rest = str(error).partition("certificate verify failed: ")
    return rest.partition(" (_ssl")[0] if failed else None
