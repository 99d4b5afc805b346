"""A configuration file to `Settings`, by the table of keys and then the cross-checks; and `Settings` to a file."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from carbonquota.daemon.configuration.cross_checks import cross_check, remarks_on, resolve_sink
from carbonquota.daemon.configuration.go_carbon import Diagnostics, diagnostics_of, find_unknown
from carbonquota.daemon.configuration.keys import KEYS
from carbonquota.daemon.settings import Settings
from carbonquota.daemon.values.kinds import HOST
from carbonquota.errors import ConfigError, Problem
from carbonquota.metric_name import normalize
from carbonquota.rules.files import read_text
from carbonquota.service.values.toml import TomlDocument, read_toml
from carbonquota.service.values.value_error import SettingValueError, described

DEFAULT_GRAPH_PREFIX: Final = f"carbon.agents.{HOST}"


@dataclass(frozen=True, slots=True)
class Configuration:
    """A file as far as it could be read: `settings` has the defaults for all that the `problems` are about."""

    settings: Settings
    diagnostics: Diagnostics
    problems: tuple[Problem, ...] = ()


def load_settings(path: str | os.PathLike[str], *, hostname: str | None = None) -> tuple[Settings, Diagnostics]:
    """Read a file; raises ConfigError with all of its problems.

    `hostname` stands for `{host}`, with `_` for its dots; without it this machine's is taken.
    """
    source = os.fspath(path)
    configuration = read_configuration(read_text(source), source, hostname=hostname)
    if configuration.problems:
        raise ConfigError(configuration.problems)
    return configuration.settings, configuration.diagnostics


def read_configuration(text: str, source: str, *, hostname: str | None = None) -> Configuration:
    """Read the text of the file `source`, gathering the problems; relative paths are those from its directory."""
    try:
        document = read_toml(text, source)
    except ConfigError as error:
        return Configuration(Settings(source), Diagnostics(source), error.problems)
    problems: list[Problem] = []
    sections: dict[str, dict[str, Any]] = {}
    for section in KEYS:
        sections[section], found = _read_section(document, section)
        problems += found
    unknown = list(find_unknown(document))
    problems += (one.problem for one in unknown if one.is_error)
    host = (socket.gethostname() if hostname is None else hostname).replace(".", "_") or "localhost"
    settings = resolve_sink(_settings(source, sections, host), document)
    if not problems:
        problems += cross_check(settings, document)
    diagnostics = diagnostics_of(document)
    warnings = tuple(one.problem for one in unknown if not one.is_error)
    diagnostics = replace(diagnostics, remarks=(*diagnostics.remarks, *remarks_on(settings)), warnings=warnings)
    return Configuration(
        settings, diagnostics, tuple(sorted(problems, key=lambda problem: (problem.line, problem.column)))
    )


def _settings(source: str, sections: dict[str, dict[str, Any]], host: str) -> Settings:
    """The settings with what the file says; all else as it is by default."""
    sections["common"]["graph_prefix"] = _filled_prefix(sections["common"].get("graph_prefix"), host)
    _make_absolute(sections, Path(source).absolute().parent)
    defaults = Settings(source)
    changed = {section: replace(defaults.section(section), **values) for section, values in sections.items()}
    inputs = {section: changed.pop(section) for section in defaults.inputs}
    return replace(defaults, inputs=inputs, **changed)


def _filled_prefix(prefix: str | None, host: str) -> str:
    return str(normalize((prefix or DEFAULT_GRAPH_PREFIX).replace(HOST, host)))


def _make_absolute(sections: dict[str, dict[str, Any]], directory: Path) -> None:
    """Let relative paths begin at the file's directory; an empty one stays empty, which is none."""
    for section, kinds in KEYS.items():
        for key, kind in kinds.items():
            path = sections[section].get(field_of(key))
            if kind.is_path and path and "://" not in path:
                sections[section][field_of(key)] = os.path.normpath(directory / path)


def _read_section(document: TomlDocument, section: str) -> tuple[dict[str, Any], list[Problem]]:
    """The values of a section by field, and its problems."""
    table = document.table.get(section, {})
    if not isinstance(table, dict):
        message = f"{section} is a section, not {described(table)}"
        return {}, [document.key_problem((section,), message, f'write "[{section}]" once, and its keys below')]
    values: dict[str, Any] = {}
    problems: list[Problem] = []
    for key, value in table.items():
        kind = KEYS[section].get(key)
        if kind is None:
            continue
        try:
            values[field_of(key)] = kind.read(value)
        except SettingValueError as error:
            problems.append(document.value_problem((section, key), f"{key}: {error.message}", error.suggestion))
    return values, problems


def format_settings(settings: Settings) -> str:
    """A valid `carbonquota.conf` that says all of it; read again, it gives the same settings but for their `source`."""
    sections = []
    for section, kinds in KEYS.items():
        values = settings.section(section)
        lines = [f"{key} = {kind.write(getattr(values, field_of(key)))}" for key, kind in kinds.items()]
        sections.append("\n".join([f"[{section}]", *lines, ""]))
    return "\n".join(sections)


def field_of(key: str) -> str:
    """The field in `Settings` of a key."""
    return key.replace("-", "_")
