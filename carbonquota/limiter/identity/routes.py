"""Routes: which requests belong together, by method, host and a template of the path.

Templates are Starlette's, as in "/users/{id}" and "/files/{path:path}". A path is looked at as most servers behind
would understand it: percent signs read once, doubled slashes and dots in segments resolved, so that another spelling
of a path is not another route.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from posixpath import normpath
from typing import Final
from urllib.parse import unquote

from starlette.routing import compile_path

_PLAIN: Final = re.compile(r"(?:/[A-Za-z0-9_~-][A-Za-z0-9_.~-]*)*/?")
"""Paths that are as they shall be: no escapes, no empty segments, none that begins with a dot."""


@dataclass(frozen=True, slots=True)
class Route:
    """A kind of request. An empty `methods`, `host` or `path` is any; a `host` may begin with "*.".

    A request of it counts `cost`. `descriptors` take the place of those for all requests where there are some.
    """

    name: str
    path: str = ""
    methods: frozenset[str] = frozenset()
    host: str = ""
    cost: int = 1
    descriptors: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class RouteMatch:
    """The route of a request, and what its path has in the places of the template's names."""

    route: Route
    parts: Mapping[str, str] = field(default_factory=dict)


class Routes:
    """The routes in their order, of which the first that fits is a request's. Immutable."""

    def __init__(self, routes: Iterable[Route]) -> None:
        """ValueError names a template that cannot be read."""
        self._compiled = tuple((route, _path_pattern(route), _host_pattern(route)) for route in routes)

    def match(self, method: str, host: str, path: str) -> RouteMatch | None:
        """The route of a request, None where none fits; `path` may have a query, and `host` a port."""
        if not self._compiled:
            return None
        host, path = host_name(host), plain_path(path)
        for route, path_pattern, host_pattern in self._compiled:
            if route.methods and method not in route.methods:
                continue
            if host_pattern is not None and not host_pattern.fullmatch(host):
                continue
            if path_pattern is None:
                return RouteMatch(route)
            if found := path_pattern.fullmatch(path):
                return RouteMatch(route, found.groupdict())
        return None


def plain_path(target: str) -> str:
    """The path of a request's target in the one spelling that routes are matched with, without a last slash."""
    path = target.partition("?")[0].partition("#")[0]
    if not _PLAIN.fullmatch(path):
        path = normpath("/" + unquote(path).replace("\\", "/").lstrip("/"))
    return path.rstrip("/") or "/"


def host_name(host: str) -> str:
    """A request's host without its port and without a last dot, in small letters."""
    host = host.strip().lower()
    name, colon, port = host.rpartition(":")
    if colon and port.isdecimal() and (":" not in name or name.endswith("]")):
        host = name
    return host.rstrip(".")


def _path_pattern(route: Route) -> re.Pattern[str] | None:
    """The expression of a route's path; None for any."""
    if not route.path:
        return None
    if not route.path.startswith("/"):
        raise ValueError(f'the path "{route.path}" must begin with "/"')
    try:
        return compile_path(route.path.rstrip("/") or "/")[0]
    except (AssertionError, ValueError, re.error) as error:
        raise ValueError(f'the path "{route.path}" is no template: {error}') from None


def _host_pattern(route: Route) -> re.Pattern[str] | None:
    """The expression of a route's host; None for any."""
    host = route.host.lower()
    if not host:
        return None
    rest = re.escape(host.removeprefix("*."))
    return re.compile(rf"(?:[^.]+\.)+{rest}" if host.startswith("*.") else rest)
