"""Errors as documents: `application/problem+json` of RFC 9457, one form for every status of every HTTP side.

`detail` says in words what is wrong and what mends it. Where a text such as a rules file is at fault, `errors` has each
problem with its place, as the command line prints it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from http import HTTPStatus
from typing import Any, Final, cast

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from carbonquota.errors import ConfigError, Problem, QuotaError

PROBLEM: Final = "application/problem+json"
_STATUSES: Final = frozenset(HTTPStatus)
_MOST_ERRORS: Final = 100


@dataclass(frozen=True, slots=True)
class ProblemPlace:
    """One thing wrong in a text that was sent: where, what, and what mends it; `excerpt` is the line with its caret."""

    source: str
    line: int
    column: int
    message: str
    suggestion: str
    excerpt: str


@dataclass(frozen=True, slots=True)
class ProblemDocument:
    """Why there is no answer: `detail` in words, `errors` with their places where a text that was sent is at fault."""

    title: str
    status: int
    detail: str
    errors: tuple[ProblemPlace, ...] = ()


class ProblemResponse(JSONResponse):
    """An answer that is a problem."""

    media_type = PROBLEM


def problem(status: int, detail: str, *, headers: Mapping[str, str] | None = None, **more: object) -> Response:
    """The answer that says what is wrong; `more` are further members of the document."""
    return ProblemResponse(problem_members(status, detail) | more, status, headers=headers)


def problem_members(status: int, detail: str) -> dict[str, object]:
    """What every problem has."""
    title = HTTPStatus(status).phrase if status in _STATUSES else "Error"
    return {"title": title, "status": status, "detail": detail}


def place_of(found: Problem) -> ProblemPlace:
    """A problem of a configuration as a document has it."""
    excerpt = "\n".join(str(found).split("\n")[1:3]) if found.line else ""
    return ProblemPlace(found.source, found.line, found.column, found.message, found.suggestion, excerpt)


def places_of(found: Iterable[Problem]) -> list[dict[str, Any]]:
    """The first hundred of them, as JSON has them."""
    return [asdict(place_of(one)) for _, one in zip(range(_MOST_ERRORS), found, strict=False)]


def add_problem_handlers(app: FastAPI) -> None:
    """Have every error that the application raises on purpose answered by a problem."""
    app.add_exception_handler(HTTPException, _answer_http)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    app.add_exception_handler(ConfigError, _answer_places)
    app.add_exception_handler(QuotaError, _answer_refused)


def _answer_http(_: Request, error: Exception) -> Response:
    """The status as it was raised."""
    raised = cast("HTTPException", error)
    return problem(raised.status_code, raised.detail, headers=raised.headers)


def _answer_invalid(_: Request, error: Exception) -> Response:
    """422 with everything that is out of range, in one text."""
    found = cast("RequestValidationError", error).errors()
    return problem(422, "; ".join(f"{_place(one['loc'])}: {one['msg']}" for one in found))


def _place(location: tuple[int | str, ...]) -> str:
    """A parameter by its name; within a body the way to the value."""
    names = [str(part) for part in location if part != "body"]
    return ".".join(names) if location[0] == "body" and names else str(location[-1])


def _answer_places(_: Request, error: Exception) -> Response:
    """422 with each place."""
    return problem(422, str(error), errors=places_of(cast("ConfigError", error).problems))


def _answer_refused(_: Request, error: Exception) -> Response:
    """422 for what cannot be worked out."""
    return problem(422, str(error))
