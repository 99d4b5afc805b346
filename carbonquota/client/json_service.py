"""One of our services over HTTP, from a program: documents sent and answered, each refusal with its reason.

A proxy of the environment is passed by for this machine itself, and no redirection is followed, so that a token goes to
the URL it was given for and nowhere else.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any, Final
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode, urlsplit
from urllib.request import Request

from carbonquota.errors import QuotaError
from carbonquota.service.urls import url_opener

_TIMEOUT: Final = 10.0
_LONGEST: Final = 64 * 1024 * 1024


class ServiceAwayError(QuotaError):
    """The service did not answer, or something else did; the text is why."""


class ServiceRefusedError(QuotaError):
    """The service answered, with a status that is no success: `detail` in words, `errors` with the places in a text."""

    def __init__(self, status: int, detail: str, errors: tuple[dict[str, Any], ...] = ()) -> None:
        """Take the problem document's parts."""
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.errors = errors


@dataclass(frozen=True, slots=True)
class ServiceAnswer:
    """A success, or 304: the document is None where there is no body."""

    status: int
    document: Any
    headers: Mapping[str, str] = field(default_factory=dict)


class JsonService:
    """A service by its URL. May be used from any thread."""

    def __init__(self, url: str, token: str = "") -> None:
        """Ask the service at `url`, with a token if there is one; nothing is sent yet."""
        self.url = url.rstrip("/")
        self._token = token
        self._opener = url_opener(url)

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        query: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = _TIMEOUT,
    ) -> ServiceAnswer:
        """The answer to a request; ServiceRefusedError or ServiceAwayError where there is no good one."""
        request = self._request(method, path, body, query, headers)
        try:
            with self._opener.open(request, timeout=timeout) as answer:
                data = answer.read(_LONGEST)
                return ServiceAnswer(answer.status, json.loads(data) if data else None, dict(answer.headers))
        except HTTPError as error:
            with error:
                if error.code == 304:
                    return ServiceAnswer(304, None, dict(error.headers))
                raise _refusal(error) from None
        except (OSError, HTTPException, ValueError, RecursionError) as error:
            raise ServiceAwayError(_reason(error, timeout)) from None

    def _request(
        self,
        method: str,
        path: str,
        body: object,
        query: Mapping[str, object] | None,
        headers: Mapping[str, str] | None,
    ) -> Request:
        url = f"{self.url}{path}" + (f"?{urlencode(query)}" if query else "")
        sent = dict(headers or {}) | ({"Content-Type": "application/json"} if body is not None else {})
        if self._token:
            sent["Authorization"] = f"Bearer {self._token}"
        data = None if body is None else json.dumps(body).encode()
        return Request(url, data, sent, method=method)  # noqa: S310 - http and https, see checked_url


def checked_url(url: str) -> str:
    """The URL of a service; ValueError where it is none."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.port == 0:
        raise ValueError(f'"{url}" is no URL of a service')
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError("a URL of a service has no user, query or fragment")
    return url.rstrip("/")


def _refusal(error: HTTPError) -> QuotaError:
    """What a service says that refuses."""
    try:
        document = json.loads(error.read(_LONGEST))
        detail, errors = document["detail"], tuple(document.get("errors", ()))
    except (OSError, HTTPException, ValueError, RecursionError, TypeError, LookupError, AttributeError):
        return ServiceAwayError(f"something answers with status {error.code}, and not as the service does")
    return ServiceRefusedError(error.code, str(detail), errors)


def _reason(error: Exception, timeout: float) -> str:
    """Why there was no answer."""
    reason = error.reason if isinstance(error, URLError) else error
    if isinstance(reason, TimeoutError):
        return f"no answer within {timeout:g} seconds"
    if isinstance(reason, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted here ({reason.verify_message}): name its authority in SSL_CERT_FILE"
    if isinstance(reason, OSError) and not isinstance(error, HTTPException):
        return f"it cannot be reached: {(reason.strerror or str(reason)).lower()}"
    return "something answers, and not as the service does"
