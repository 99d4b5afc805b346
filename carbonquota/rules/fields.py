"""The keys of a quota section: the table of what each may hold, and a section read by it into a `Rule`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from carbonquota.errors import ConfigError, Problem
from carbonquota.model import CONTROL_FIELDS, DroppingPolicy, Limits, Rule
from carbonquota.rules.entries import Reader, choice_of, read_entries
from carbonquota.rules.ini import Entry, Section
from carbonquota.rules.numbers import read_limit

CONTROL_KEYS: Final = {name.replace("_", "-"): name for name in CONTROL_FIELDS}
"""The controls' keys in the file, each with its field in `Limits`."""

POLICY_KEY: Final = "dropping-policy"
PREFIX_KEY: Final = "stat-metric-prefix"

_POLICIES: Final = {"new": DroppingPolicy.NEW, "none": DroppingPolicy.NONE, "": DroppingPolicy.NEW}


def read_rule(section: Section) -> tuple[Rule, tuple[Problem, ...]]:
    """The rule that the section gives, without what the problems are about."""
    values, problems = read_entries(section, _READERS)
    rule = Rule(
        pattern=section.name or "",
        limits=Limits(**{name: values.get(key) for key, name in CONTROL_KEYS.items()}),
        policy=values.get(POLICY_KEY, DroppingPolicy.NEW),
        stat_prefix=values.get(PREFIX_KEY, ""),
        source=section.line.source,
        line=section.line.number,
    )
    return rule, problems


def _read_control(entry: Entry) -> int | None:
    limit = read_limit(entry.value)
    if isinstance(limit, tuple):
        message, suggestion = limit
        raise ConfigError([entry.value_problem(f"{entry.key}: {message}", suggestion)])
    return limit


def _read_prefix(entry: Entry) -> str:
    for offset, character in enumerate(entry.value):
        if character.isspace() or not character.isprintable():
            message = f"{entry.key}: a blank or control character, which no stat name may hold"
            column = entry.value_column + offset
            raise ConfigError([entry.line.problem(column, 1, message, "take it out")])
    return entry.value.removeprefix(".")


_READERS: Final[Mapping[str, Reader]] = {
    **dict.fromkeys(CONTROL_KEYS, _read_control),
    POLICY_KEY: choice_of(_POLICIES, "policies"),
    PREFIX_KEY: _read_prefix,
}
