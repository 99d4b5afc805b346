"""Charges that could not be made while the limiter was away, kept on disk until it is back.

They are rows of an SQLite file, so that several processes may share it and a crash loses none that was written. It is
bounded: where it is full, the oldest goes, for its time is over first.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Lock
from typing import Any, Final

from carbonquota.client.limiter.values import Question
from carbonquota.errors import InputError

_SCHEMA: Final = "CREATE TABLE IF NOT EXISTS charges (id INTEGER PRIMARY KEY AUTOINCREMENT, question TEXT NOT NULL)"
_LOOK_INTERVAL: Final = 1.0
"""Seconds between two looks into a queue that was empty."""


class ChargeQueue:
    """The charges, the oldest first. May be used from any thread."""

    def __init__(self, path: str | Path, most: int = 100_000) -> None:
        """Keep at most so many in this file; InputError where it cannot be had."""
        self._path = str(path)
        self._most = most
        self._lock = Lock()
        self.dropped = 0
        self._look_again = float("-inf")
        with self._database() as database:
            database.execute("PRAGMA journal_mode=WAL")
            database.execute(_SCHEMA)

    def __len__(self) -> int:
        with self._database() as database:
            return int(database.execute("SELECT count(*) FROM charges").fetchone()[0])

    @property
    def may_hold_charges(self) -> bool:
        """Whether it is worth looking; other processes may put charges in, so it is now and then."""
        return time.monotonic() >= self._look_again

    def put(self, questions: Sequence[Question]) -> None:
        """Keep these behind all others."""
        self._look_again = float("-inf")
        with self._database() as database:
            rows = [(json.dumps(question.document()),) for question in questions]
            database.executemany("INSERT INTO charges (question) VALUES (?)", rows)
            over = database.execute("SELECT count(*) FROM charges").fetchone()[0] - self._most
            if over > 0:
                database.execute(
                    "DELETE FROM charges WHERE id IN (SELECT id FROM charges ORDER BY id LIMIT ?)", (over,)
                )
                self.dropped += over

    def first(self, most: int) -> list[tuple[int, Question]]:
        """The oldest, with their numbers."""
        with self._database() as database:
            rows = database.execute("SELECT id, question FROM charges ORDER BY id LIMIT ?", (most,)).fetchall()
        if not rows:
            self._look_again = time.monotonic() + _LOOK_INTERVAL
        return [(number, _question(json.loads(text))) for number, text in rows]

    def remove(self, numbers: Sequence[int]) -> None:
        """These are made."""
        with self._database() as database:
            database.executemany("DELETE FROM charges WHERE id = ?", [(number,) for number in numbers])

    @contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        """The file, for one transaction."""
        try:
            with self._lock, closing(sqlite3.connect(self._path, timeout=5.0)) as database, database:
                yield database
        except sqlite3.Error as error:
            raise InputError(f"{self._path}: charges cannot be kept there: {error}") from None


def _question(document: dict[str, Any]) -> Question:
    descriptors = [[(key, value) for key, value in entries] for entries in document.pop("descriptors")]
    return Question(descriptors=descriptors, **document)
