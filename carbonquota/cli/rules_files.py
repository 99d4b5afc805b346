"""The rules that a command is given: a file of another kind is told as what it is, not line by line."""

from __future__ import annotations

import re
from typing import Final

from carbonquota.cli.checked import FileKind, kind_of_rules
from carbonquota.daemon.configuration import is_configuration
from carbonquota.errors import InputError
from carbonquota.rules import RuleSet
from carbonquota.rules.files import read_text

_SECTION_OR_ENTRY: Final = re.compile(r"^[ \t]*\[|=", re.MULTILINE)
_OTHERS: Final = {
    FileKind.SCHEMAS: "this is a storage-schemas.conf, not rules",
    FileKind.AGGREGATION: "this is a storage-aggregation.conf, not rules",
}


def read_rules(path: str) -> RuleSet:
    """The rules in a file; ConfigError with all of its problems, InputError where it is of another kind."""
    text = read_text(path)
    if is_configuration(text):
        raise InputError(
            f"{path}: this is a daemon's configuration, not rules: give the file that its quotas-file names"
        )
    if other := _OTHERS.get(kind_of_rules(text)):
        raise InputError(f"{path}: {other}: give a storage-quotas.conf")
    if text.strip() and not _SECTION_OR_ENTRY.search(text) and not _is_comment(text):
        raise InputError(f"{path}: there is no [section] in it: rules are a storage-quotas.conf")
    return RuleSet.from_text(text, path)


def _is_comment(text: str) -> bool:
    """Whether there is nothing but comments."""
    return all(line.lstrip()[:1] in {"", "#", ";"} for line in text.splitlines())
