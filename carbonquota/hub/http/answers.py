"""What OpenAPI is told of the answers that are no success."""

from __future__ import annotations

from typing import Any, Final

from carbonquota.hub.domain.errors import (
    ConflictError,
    HubError,
    InvalidError,
    NotFoundError,
    UnavailableError,
)
from carbonquota.web.problems import ProblemDocument

Answers = dict[int | str, dict[str, Any]]

STATUSES: Final[dict[type[HubError], int]] = {
    InvalidError: 422,
    NotFoundError: 404,
    ConflictError: 412,
    UnavailableError: 503,
}
"""The status of each kind of error."""

READS: Final[Answers] = {
    404: {"model": ProblemDocument, "description": "There is none, or whoever asks may not know of it"},
    422: {"model": ProblemDocument, "description": "What is asked for cannot be"},
    503: {"model": ProblemDocument, "description": "The database is away, or busy"},
}
CHANGES: Final[Answers] = READS | {
    412: {"model": ProblemDocument, "description": "It is not the version that was expected: read it anew"},
}
