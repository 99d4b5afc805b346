"""Rules in files: each path is a file, or a directory of files that end in .yaml or .yml."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from carbonquota.errors import ConfigError, Problem
from carbonquota.limiter.rules.model import DomainRules
from carbonquota.rules.files import read_text

_ENDINGS = {".yaml", ".yml"}


def files_of(paths: Sequence[str]) -> list[str]:
    """The files that paths name, those of a directory by their names; hidden ones are left out."""
    found: list[str] = []
    for path in paths:
        folder = Path(path)
        if folder.is_dir():
            found += sorted(
                str(file) for file in folder.iterdir() if file.suffix in _ENDINGS and not file.name.startswith(".")
            )
        else:
            found.append(path)
    return found


def read_files(paths: Sequence[str]) -> list[tuple[str, str]]:
    """The texts of all files, (path, text) each; ConfigError with the problems of all that cannot be read."""
    files = files_of(paths)
    problems: list[Problem] = []
    texts: list[tuple[str, str]] = []
    for path in files:
        try:
            texts.append((path, read_text(path, again=True)))
        except ConfigError as error:
            problems += error.problems
    if not files:
        remedy = "put files that end in .yaml or .yml there"
        problems.append(Problem(", ".join(paths), 0, 0, 0, "", "there are no rules files", remedy))
    if problems:
        raise ConfigError(problems)
    return texts


def load_rules(paths: Sequence[str]) -> DomainRules:
    """The rules of files and directories; ConfigError with all that is wrong with them."""
    return DomainRules.from_texts(read_files(paths))
