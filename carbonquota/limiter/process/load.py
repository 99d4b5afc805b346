"""A limiter's file to its settings, every problem told at once with its place; and settings to a file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from carbonquota.client.fleet_values import hub_problems
from carbonquota.errors import ConfigError, Problem
from carbonquota.limiter.identity.routes import Route, Routes
from carbonquota.limiter.process.keys import KEYS, ROUTE_KEYS
from carbonquota.limiter.process.settings import LimiterSettings
from carbonquota.rules.files import read_text
from carbonquota.service.values.kinds import ValueKind
from carbonquota.service.values.toml import TomlDocument, read_toml
from carbonquota.service.values.value_error import SettingValueError, described
from carbonquota.suggest import did_you_mean
from carbonquota.web.access_keys import access_problems

ROUTES: Final = "routes"

Kinds = Mapping[str, ValueKind]


def load_settings(path: str) -> LimiterSettings:
    """Read a file; raises ConfigError with all of its problems. Relative paths begin at its directory."""
    return read_settings(read_text(path), path)


def read_settings(written: str, source: str) -> LimiterSettings:
    """The settings of a text that is the file `source`."""
    document = read_toml(written, source)
    reading = _SettingsReading(document)
    settings = reading.settings()
    if reading.problems:
        raise ConfigError(sorted(reading.problems, key=lambda problem: (problem.line, problem.column)))
    return _with_paths(settings, Path(source).absolute().parent)


class _SettingsReading:
    """The values of one file, and what is wrong with them."""

    def __init__(self, document: TomlDocument) -> None:
        self._document = document
        self.problems: list[Problem] = []

    def settings(self) -> LimiterSettings:
        document = self._document
        for name in document.table.keys() - {*KEYS, ROUTES}:
            hint = did_you_mean(name, (*KEYS, ROUTES), "sections")
            self.problems.append(document.key_problem((name,), f"unknown section [{name}]", hint))
        settings = LimiterSettings(document.source, routes=tuple(self._routes()))
        changed = {}
        for section, kinds in KEYS.items():
            table = document.table.get(section, {})
            if isinstance(table, dict):
                changed[section] = replace(getattr(settings, section), **self._values((section,), table, kinds))
            else:
                message = f"{section} is a section, not {described(table)}"
                self.problems.append(document.key_problem((section,), message, f'write "[{section}]" once'))
        settings = replace(settings, **changed)
        self.problems += hub_problems(settings.hub, document)
        self.problems += access_problems(settings.access, document)
        return settings

    def _values(self, path: tuple[str, ...], table: Mapping[str, Any], kinds: Kinds) -> dict[str, Any]:
        """The values of a table by field."""
        values: dict[str, Any] = {}
        for key, value in table.items():
            kind, place = kinds.get(key), (*path, key)
            if kind is None:
                hint = did_you_mean(key, kinds, "keys")
                message = f'unknown key "{key}" in [{path[0]}]'
                self.problems.append(self._document.key_problem(place, message, hint))
                continue
            try:
                values[key.replace("-", "_")] = kind.read(value)
            except SettingValueError as error:
                message = f"{key}: {error.message}"
                self.problems.append(self._document.value_problem(place, message, error.suggestion))
        return values

    def _routes(self) -> Iterator[Route]:
        tables = self._document.table.get(ROUTES, [])
        if not isinstance(tables, list) or not all(isinstance(one, dict) for one in tables):
            hint = 'write "[[routes]]" above the keys of each'
            self.problems.append(self._document.key_problem((ROUTES,), "routes is a list of tables", hint))
            return
        for number, table in enumerate(tables, 1):
            known = len(self.problems)
            values = self._values((ROUTES,), table, ROUTE_KEYS)
            if len(self.problems) == known:
                yield from self._route(number, values)

    def _route(self, number: int, values: dict[str, Any]) -> Iterator[Route]:
        try:
            route = Route(**values)
            Routes([route])
        except (ValueError, TypeError) as error:
            why = error if isinstance(error, ValueError) else "it has no name"
            message = f"the {number}. of [[routes]]: {why}"
            self.problems.append(self._document.key_problem((ROUTES,), message, 'for example path = "/users/{id}"'))
        else:
            yield route


def _with_paths(settings: LimiterSettings, directory: Path) -> LimiterSettings:
    """The settings with paths that begin at the file's directory; empty ones stay empty."""

    def absolute(path: str) -> str:
        return os.path.normpath(directory / path) if path and "://" not in path else path

    return replace(
        settings,
        limiter=replace(settings.limiter, rules=tuple(map(absolute, settings.limiter.rules))),
        access=replace(
            settings.access,
            **{  # type: ignore[arg-type] # paths, which texts are
                name: absolute(getattr(settings.access, name))
                for name in ("tokens_file", "jwt_keys", "tls_certificate", "tls_key")
            },
        ),
        identity=replace(settings.identity, keys_file=absolute(settings.identity.keys_file)),
        jwt=replace(settings.jwt, keys=absolute(settings.jwt.keys)),
        store=replace(settings.store, password_file=absolute(settings.store.password_file)),
        hub=replace(
            settings.hub, token_file=absolute(settings.hub.token_file), kept_file=absolute(settings.hub.kept_file)
        ),
    )


def format_settings(settings: LimiterSettings) -> str:
    """A file that says all of it; read again, it gives the same settings but for their `source`."""
    tables = [(f"[{section}]", getattr(settings, section), kinds) for section, kinds in KEYS.items()]
    tables += [("[[routes]]", route, ROUTE_KEYS) for route in settings.routes]
    return "\n".join("\n".join([head, *_lines(values, kinds), ""]) for head, values, kinds in tables)


def _lines(values: object, kinds: Kinds) -> Iterator[str]:
    for key, kind in kinds.items():
        yield f"{key} = {kind.write(getattr(values, key.replace('-', '_')))}"
