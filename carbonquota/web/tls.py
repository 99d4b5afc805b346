"""TLS of a program's servers: a certificate that is read again when its files change, as it is renewed while they run.

A context stays the same for as long as the program runs. What it loads anew holds for connections from then on. Files
that do not belong together, as when only one of them is written yet, are left alone until they do.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Hashable
from pathlib import Path
from time import monotonic
from typing import Final

from carbonquota.errors import InputError
from carbonquota.service.bounded_log import BoundedLog
from carbonquota.web.access_settings import AccessSettings

_log = logging.getLogger(__name__)

LOOK: Final = 5.0
"""Seconds between two looks at the files."""


class TlsFiles:
    """The certificate and its key, and the contexts that have them."""

    def __init__(self, settings: AccessSettings) -> None:
        """Read the files, if there are any; InputError where they are not a certificate and its key."""
        self._settings = settings
        self._contexts: list[ssl.SSLContext] = []
        self._notices = BoundedLog(_log, monotonic)
        self._seen = self._signature()
        if settings.tls_certificate:
            self._load(_new_context())

    def context(self, protocol: str = "") -> ssl.SSLContext | None:
        """A context for a server, None without a certificate; `protocol` is what clients are told it speaks (`h2`)."""
        if not self._settings.tls_certificate:
            return None
        context = _new_context()
        if protocol:
            context.set_alpn_protocols([protocol])
        self._load(context)
        self._contexts.append(context)
        return context

    def refresh(self) -> bool:
        """Read the files again if they have changed; whether there is another certificate now."""
        signature = self._signature()
        if signature == self._seen or not self._contexts:
            return False
        try:
            self._load(_new_context())
            for context in self._contexts:
                self._load(context)
        except InputError as error:
            self._notices.warning("tls", "%s; the certificate of before stays", error)
            return False
        self._seen = signature
        _log.info("%s: the certificate was read again", self._settings.tls_certificate)
        return True

    def _signature(self) -> Hashable:
        """What is different when a file was written."""
        return tuple(_signature(path) for path in (self._settings.tls_certificate, self._settings.tls_key) if path)

    def _load(self, context: ssl.SSLContext) -> None:
        """Have a context use the files as they are; InputError."""
        certificate, key = self._settings.tls_certificate, self._settings.tls_key
        try:
            context.load_cert_chain(certificate, key, password=_no_password)
        except (OSError, ValueError) as error:
            raise InputError(
                f"{certificate}, {key}: this is no certificate and its key, both as PEM: {_reason(error)}"
            ) from None


def _new_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _signature(path: str) -> Hashable:
    try:
        status = Path(path).stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _no_password() -> str:
    """Asked for where the key is encrypted; nobody sits here to be asked."""
    raise ValueError("the key has a password: `openssl pkey` writes it without")


def _reason(error: OSError | ValueError) -> str:
    if isinstance(error, ssl.SSLError):
        return {"KEY_VALUES_MISMATCH": "the key is not that of the certificate"}.get(
            error.reason or "", error.reason or str(error)
        )
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
