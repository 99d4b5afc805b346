"""The last good release, kept on disk for when the quota service is away at a start."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from carbonquota.client.fleet import FleetRules, rules_of
from carbonquota.errors import InputError


class KeptRules:
    """One file; an empty path keeps nothing."""

    def __init__(self, path: str) -> None:
        """Nothing is read yet."""
        self._path = path

    def read(self) -> FleetRules | None:
        """What is kept, None where nothing is; InputError where the file is damaged."""
        if not self._path:
            return None
        try:
            rules = rules_of(json.loads(Path(self._path).read_bytes()))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise InputError(f"{self._path}: the kept rules cannot be read: {error.strerror or error}") from None
        except (ValueError, RecursionError):
            raise InputError(f"{self._path}: the kept rules are damaged: the file is not used") from None
        if not rules.is_whole:
            raise InputError(f"{self._path}: the kept rules are damaged (wrong checksum): the file is not used")
        return rules

    def write(self, rules: FleetRules) -> None:
        """Keep a release, in one step; InputError where that cannot be."""
        if not self._path:
            return
        path, beside = Path(self._path), Path(f"{self._path}.new")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with beside.open("w", encoding="utf-8") as file:
                json.dump(asdict(rules), file)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
            _sync(path.parent)
        except OSError as error:
            raise InputError(f"{self._path}: the rules cannot be kept: {error.strerror or error}") from None


def _sync(directory: Path) -> None:
    """Have the new name outlive the machine, where directories can be synced."""
    with suppress(OSError):
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
