"""Sections and keys that neither we nor any go-carbon know: a warning, or an error where one of ours was meant.

go-carbon passes over what it does not know, so a file that starts it must start us. An error is made only of what no
file of go-carbon's would have: what stands in a section of our own, or is nearest to a section or key of our own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from carbonquota.daemon.configuration.document import Document
from carbonquota.daemon.configuration.keys import KEYS
from carbonquota.daemon.configuration.notes import FOREIGN_KEYS, FOREIGN_SECTIONS
from carbonquota.errors import Problem
from carbonquota.rules.suggest import did_you_mean, nearest

_SHARED: Final = frozenset(["common", "whisper", "cache", "tcp", "udp", "pickle", "carbonserver"])
"""Sections that go-carbon has, too."""
OWN_SECTIONS: Final = frozenset(KEYS) - _SHARED
_OWN_KEYS: Final = frozenset(["throughput-unit"])
"""Keys of our own in sections of go-carbon's."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """One section or key that nobody knows."""

    problem: Problem
    is_error: bool


def find_unknown(document: Document) -> Iterator[Unknown]:
    """All of them: top level first, then section by section."""
    known = (*KEYS, *FOREIGN_SECTIONS)
    for name, value in document.table.items():
        if name not in known:
            yield _unknown_section(document, name, value)
    for section in KEYS:
        table = document.table.get(section, {})
        if isinstance(table, dict):
            foreign = FOREIGN_KEYS.get(section, frozenset())
            yield from (_unknown_key(document, section, key) for key in table if key not in {*KEYS[section], *foreign})


def _unknown_section(document: Document, name: str, value: object) -> Unknown:
    if not isinstance(value, dict | list):
        hint = _home_of(name) or "put a section such as [tcp] above it"
        return Unknown(document.key_problem((name,), f'"{name}" stands outside of any section', hint), is_error=False)
    near = nearest(name, (*KEYS, *FOREIGN_SECTIONS))
    hint = f"did you mean [{near}]?" if near else f"sections are: {', '.join(KEYS)}"
    return Unknown(document.key_problem((name,), f"unknown section [{name}]", hint), near in OWN_SECTIONS)


def _unknown_key(document: Document, section: str, key: str) -> Unknown:
    near = nearest(key, (*KEYS[section], *FOREIGN_KEYS.get(section, frozenset())))
    hint = f'did you mean "{near}"?' if near else _home_of(key) or did_you_mean(key, KEYS[section], "keys")
    problem = document.key_problem((section, key), f'unknown key "{key}" in [{section}]', hint)
    return Unknown(problem, section in OWN_SECTIONS or near in _OWN_KEYS or key in _OWN_KEYS)


def _home_of(key: str) -> str:
    """Where a key belongs, if it is one of a single section."""
    homes = [section for section, kinds in KEYS.items() if key in kinds]
    return f"it belongs to [{homes[0]}]" if len(homes) == 1 else ""
