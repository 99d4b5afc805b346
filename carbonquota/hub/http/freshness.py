"""What an answer says that comes from memory while the database is away."""

from __future__ import annotations

from fastapi import Response


def warn(response: Response, age: float) -> None:
    """Say that others may have changed something in the last `age` seconds."""
    response.headers["Warning"] = f'110 - "the database is away: this was so {age:.0f} seconds ago"'
