"""`/docs` and `/openapi.json`, and that whatever is sent to any path, no answer is a 500."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.http import Client, client_of, engine_with_names, source_of

CLIENT = client_of(source_of(engine_with_names()))
OPENAPI: dict[str, Any] = CLIENT.json("/openapi.json")
OPERATIONS = [(path, method) for path, methods in OPENAPI["paths"].items() for method in methods]

TEXTS = st.text(max_size=30) | st.text("./;=%{}*\\\"'<>&#?\x00\n é\u202e\U0001f600", max_size=12)
VALUES = TEXTS | st.integers().map(str) | st.sampled_from(["", "/", "metrics", "desc", "true", "team.a", "team.a.x"])


@pytest.fixture
def client() -> Client:
    return CLIENT


def test_every_path_is_there(client: Client) -> None:
    page = client.get("/docs").text
    assert set(OPENAPI["paths"]) == {
        "/health",
        "/ready",
        "/metrics",
        "/api/reload",
        "/api/namespaces/{namespace}",
        "/api/usage",
        "/api/explain",
        "/api/rules",
        "/api/quotas",
    }
    for path, method in OPERATIONS:
        assert f"<h2><b>{method.upper()}</b> {path}</h2>" in page
        for parameter in OPENAPI["paths"][path][method].get("parameters", ()):
            assert f"<td>{parameter['name']}</td>" in page
    for name in OPENAPI["components"]["schemas"]:
        assert f"<h2>{name}</h2>" in page


def test_the_page_needs_nothing_from_elsewhere(client: Client) -> None:
    answer = client.get("/docs")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-security-policy"] == "default-src 'none'; style-src 'unsafe-inline'"
    assert re.findall(r"(?:src|href)=\"([^\"]*)\"|@import|url\(|<script", answer.text) == ["openapi.json"]


def test_documents_are_described_in_full() -> None:
    for path, method in OPERATIONS:
        operation = OPENAPI["paths"][path][method]
        assert operation["summary"], path
        assert operation["description"], path
        assert all(one.get("description") or one["name"] == "sort" or one["in"] == "header"
                   for one in operation.get("parameters", ())), path  # fmt: skip
    for name, schema in OPENAPI["components"]["schemas"].items():
        assert schema.get("description"), name


def test_the_document_tells_of_every_path() -> None:
    text = (Path(__file__).parents[4] / "docs" / "http.md").read_text()
    for path, method in OPERATIONS:
        assert f"| `{method.upper()} {path}` |" in text


@pytest.mark.parametrize("path", ["/nowhere", "/api", "/api/nowhere", "/redoc"])
def test_what_is_not_there_is_404(client: Client, path: str) -> None:
    answer = client.get(path)
    assert (answer.status_code, answer.json()["detail"]) == (404, "Not Found")


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_no_input_is_a_bug(data: st.DataObject) -> None:
    path, method = data.draw(st.sampled_from(OPERATIONS))
    query: dict[str, str] = {}
    for parameter in OPENAPI["paths"][path][method].get("parameters", ()):
        if parameter["in"] == "path":
            path = path.replace("{namespace}", _escaped(data.draw(VALUES)))
        elif parameter["in"] == "query" and (parameter.get("required") or data.draw(st.booleans())):
            query[parameter["name"]] = data.draw(VALUES)
    answer = CLIENT.request(method.upper(), path, params=query)
    assert answer.status_code in {200, 400, 404, 415, 422}, answer.text
    if answer.status_code != 200:
        assert {"title", "status", "detail"} <= answer.json().keys()
        assert isinstance(answer.json()["detail"], str)


@settings(deadline=None, max_examples=50)
@given(st.binary(max_size=20))
def test_bytes_that_are_no_text_are_no_bug(name: bytes) -> None:
    escaped = "".join(f"%{byte:02x}" for byte in name)
    assert CLIENT.get(f"/api/namespaces/{escaped}").status_code in {200, 404}
    assert CLIENT.get(f"/api/explain?metric={escaped}").status_code in {200, 400}


def _escaped(text: str) -> str:
    """Every byte of a text, escaped for a path."""
    return "".join(f"%{byte:02X}" for byte in text.encode())
