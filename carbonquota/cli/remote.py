"""A live daemon that is asked over HTTP: its documents as values, and one clear error where there are none.

A proxy of the environment is passed by for this machine itself, and no redirection is followed: the URL that was given
is the one that answers. A token is taken from the environment, where neither a list of processes nor a history of
commands shows it.
"""

from __future__ import annotations

import json
import os
import ssl
import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from http import HTTPStatus
from http.client import HTTPException
from typing import Any, Final, TypeVar, Union, get_args, get_origin, get_type_hints
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import Request

from carbonquota.errors import InputError
from carbonquota.service.urls import url_opener

Document = TypeVar("Document")

_TIMEOUT: Final = 10.0
"""Seconds without a byte after which a daemon is given up."""

_LONGEST: Final = 64 * 1024 * 1024
"""Bytes of an answer; a daemon's are far shorter."""

_NO_DAEMON: Final = "does not answer as a carbonquota daemon does: give the URL of its [carbonserver] listen"


TOKEN_VARIABLE: Final = "CARBONQUOTA_TOKEN"  # noqa: S105 - a name
"""Where the token comes from that a daemon may need."""


class LiveDaemon:
    """A daemon by its URL."""

    def __init__(self, url: str) -> None:
        """Ask the daemon at `url`, which is http or https and has no query; nothing is sent yet."""
        self._url = url.rstrip("/")
        self._opener = url_opener(url)

    def ask(self, document: type[Document], path: str, **query: str | int) -> Document:
        """The document that the daemon has at `path`; InputError says why there is none."""
        body = self._body(f"{self._url}{path}?{urlencode(query)}" if query else f"{self._url}{path}")
        try:
            value: Document = as_value(document, json.loads(body))
        except (ValueError, TypeError, RecursionError):
            raise self._error(_NO_DAEMON) from None
        return value

    def _body(self, url: str) -> bytes:
        """What a GET gives."""
        try:
            with self._opener.open(_request(url), timeout=_TIMEOUT) as answer:
                body: bytes = answer.read(_LONGEST)
                return body
        except HTTPError as error:
            with error:
                raise self._error(_refusal(error)) from None
        except (OSError, HTTPException, ValueError) as error:
            raise self._error(_failure(error)) from None

    def _error(self, reason: str) -> InputError:
        return InputError(f"{self._url}: {reason}")


def as_value(kind: Any, value: Any) -> Any:  # noqa: ANN401 - as wide as JSON
    """A value of parsed JSON as what a type annotation says; TypeError or ValueError where it is not that.

    Keys of an object that its dataclass does not have are passed over, for a newer daemon may have more.
    """
    if is_dataclass(kind):
        return _as_dataclass(kind, value)
    if get_origin(kind) in (Union, types.UnionType):
        inner = next(argument for argument in get_args(kind) if argument is not type(None))
        return None if value is None else as_value(inner, value)
    if get_origin(kind) is tuple:
        if not isinstance(value, list):
            raise TypeError("not a list")
        return tuple(as_value(get_args(kind)[0], item) for item in value)
    if type(value) is not kind:
        raise TypeError(f"not of type {kind}")
    return value


def _as_dataclass(kind: Any, value: Any) -> Any:  # noqa: ANN401 - as above
    if not isinstance(value, dict):
        raise TypeError("not an object")
    types_of = _types_of(kind)
    if missing := types_of.keys() - value.keys():
        raise ValueError(f"without {missing}")
    return kind(**{name: as_value(inner, value[name]) for name, inner in types_of.items()})


@cache
def _types_of(kind: Any) -> Mapping[str, Any]:  # noqa: ANN401 - as above
    """The types of a dataclass's fields, by name."""
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind)}


def _request(url: str) -> Request:
    """A request for a URL, with the token if there is one."""
    token = os.environ.get(TOKEN_VARIABLE, "").strip()
    if not (token.isascii() and token.isprintable()):
        raise InputError(f"{TOKEN_VARIABLE}: a token has no blanks within, and no letters beyond ASCII")
    return Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})  # noqa: S310 - see daemon_url


def _refusal(error: HTTPError) -> str:
    """What a daemon says that refuses an answer."""
    if location := error.headers.get("Location"):
        return f"answers that it has moved: give its own URL, perhaps {location}"
    try:
        detail = json.loads(error.read(_LONGEST))["detail"]
    except (OSError, HTTPException, ValueError, RecursionError, TypeError, LookupError):
        detail = None
    if not isinstance(detail, str) or detail == "Not Found":
        return f"{_NO_DAEMON} (status {error.code})"
    return f"{detail} (commands take it from {TOKEN_VARIABLE})" if error.code == HTTPStatus.UNAUTHORIZED else detail


def _failure(error: Exception) -> str:
    """Why there was no answer at all."""
    reason = error.reason if isinstance(error, URLError) else error
    if isinstance(reason, TimeoutError):
        return f"no answer within {_TIMEOUT:g} seconds: is the daemon busy, or something else at this address?"
    if isinstance(reason, ssl.SSLCertVerificationError):
        why = reason.verify_message
        return f"its certificate is not trusted here: {why}: name the file of its authority in SSL_CERT_FILE"
    if isinstance(reason, OSError) and not isinstance(error, HTTPException):
        why = (reason.strerror or str(reason)).lower()
        return f"cannot be reached: {why}: does the daemon run, and is this its [carbonserver] listen?"
    return _NO_DAEMON
