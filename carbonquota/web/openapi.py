"""The OpenAPI document of an application, finished: errors have their own media type, and refusals are told of.

FastAPI describes every answer as the type of the endpoint. Errors here are `application/problem+json`, and endpoints
that need a token also answer 401, 403 and 429.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from fastapi import FastAPI

from carbonquota.web.problems import PROBLEM

_JSON: Final = "application/json"
_REFERENCE: Final = "#/components/schemas/ProblemDocument"
_INVALID: Final = "#/components/schemas/HTTPValidationError"
_REFUSALS: Final = {
    "401": "No token, or one that is not valid",
    "403": "The token is of another role",
    "429": "Too many tokens that are not valid came from this address",
}

_BODIES: Final = {"400": "The body is no JSON", "413": "The body is too large"}

Document = dict[str, Any]


def finish_openapi(app: FastAPI) -> None:
    """Have `app.openapi` give the finished document, made once."""
    plain = app.openapi

    def openapi() -> Document:
        if app.openapi_schema is None:
            app.openapi_schema = _finished(plain())
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign] # FastAPI's own way


def operations(document: Document) -> Iterator[tuple[str, str, Document]]:
    """Each operation with its path and method."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def _finished(document: Document) -> Document:
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for _, _, operation in operations(document):
        answers = operation["responses"]
        refusals = _REFUSALS if operation.get("security") else {}
        for status, description in (refusals | (_BODIES if "requestBody" in operation else {})).items():
            answers.setdefault(status, {"description": description, "content": _of_problem()})
        for answer in answers.values():
            _mark_problem(answer)
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    if any(_REFERENCE in str(operation) for _, _, operation in operations(document)):
        schemas.setdefault("ProblemDocument", _SCHEMA)
    return document


def _of_problem() -> Document:
    return {PROBLEM: {"schema": {"$ref": _REFERENCE}}}


def _mark_problem(answer: Document) -> None:
    """Where the answer is a problem, give it its media type."""
    reference = answer.get("content", {}).get(_JSON, {}).get("schema", {}).get("$ref")
    if reference in {_REFERENCE, _INVALID}:
        answer["content"].pop(_JSON)
        answer["content"] |= _of_problem()


_SCHEMA: Final[Document] = {
    "title": "ProblemDocument",
    "description": "Why there is no answer: `detail` in words.",
    "type": "object",
    "required": ["title", "status", "detail"],
    "properties": {"title": {"type": "string"}, "status": {"type": "integer"}, "detail": {"type": "string"}},
}
"""Where no endpoint names the document itself."""
