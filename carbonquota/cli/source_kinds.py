"""Texts that are no list of metrics, though each line of them could be a name: told by how they begin."""

from __future__ import annotations

import re
from typing import Final

from carbonquota.errors import InputError

_KINDS: Final = (
    (
        re.compile(rb"""\s*(?:\[\s*["{\[\]]|\{\s*["}])"""),
        "this is JSON, not a list of metrics: give names, one a line, as `jq -r '.[]'` makes of a list",
    ),
    (
        re.compile(rb"(?:\s*(?:[#;][^\n]*)?\n)*[ \t]*\[[^\]\n]+\][ \t]*\r?(?:\n|$)"),
        "this is a configuration with [sections], not metrics: rules are given with --rules",
    ),
    (
        re.compile(rb"\s*\S+\.wsp[ \t]*\r?(?:\n|$)"),
        "these are paths of Whisper files, not metrics: give their directory, which has their sizes, too",
    ),
    (
        re.compile(rb"""\s*(?:"[^"\s]*"|'[^'\s]*')[ \t]*\r?(?:\n|$)"""),
        "these names are in quotes, which would be parts of the names: take them off, as sed 's/\"//g' does",
    ),
    (
        re.compile(rb"\s*[^\s:|]+:[+-]?[0-9.]+\|(?:c|g|ms|h|s|m|d)\b"),
        "these are lines for StatsD, not metrics: give the names that StatsD sends to carbon",
    ),
    (
        re.compile(rb"\s*(?:(?:name|metric|path|target)(?:,\w+)+|[^\s,]+(?:,[+-]?[0-9][0-9.]*)+)[ \t]*\r?(?:\n|$)"),
        "this is CSV, not a list of metrics: give names, one a line, as `cut -d, -f1` makes of it",
    ),
)
"""How each kind begins, and what to do instead."""


def refuse_other_kinds(source: str, beginning: bytes) -> None:
    """InputError if a text begins as something else than names or plaintext lines."""
    for expression, message in _KINDS:
        if expression.match(beginning):
            raise InputError(f"{source}: {message}")
