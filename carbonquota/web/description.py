"""The page `/docs`: the operations of an OpenAPI document as HTML that needs nothing from anywhere else."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Any, Final

_STYLE: Final = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
h2 { font: bold 1.05rem ui-monospace, monospace; border-top: 1px solid #ccc; padding-top: 1rem; margin-top: 2rem }
h2 b { color: #06c }
table { border-collapse: collapse; width: 100% }
td, th { text-align: left; vertical-align: top; padding: .2rem .8rem .2rem 0 }
code { font-family: ui-monospace, monospace }
@media (prefers-color-scheme: dark) { body { background: #181818; color: #ddd } h2 b, a { color: #6af } }
"""

Document = dict[str, Any]


def describe(openapi: Document) -> str:
    """The page of an OpenAPI document: each operation with its parameters and answers, and the fields of documents."""
    info = openapi["info"]
    operations = (
        "".join(_operation(method, path, operation))
        for path, methods in openapi["paths"].items()
        for method, operation in methods.items()
    )
    schemas = "".join("".join(_schema(name, schema)) for name, schema in openapi["components"]["schemas"].items())
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{escape(info["title"])}</title>'
        f"<style>{_STYLE}</style></head><body><h1>{escape(info['title'])}</h1>"
        f'<p>{_text(info["description"])} For programs: <a href="openapi.json">openapi.json</a>.</p>'
        f"{''.join(operations)}<h1>Documents</h1>{schemas}</body></html>\n"
    )


def _operation(method: str, path: str, operation: Document) -> Iterator[str]:
    """One operation."""
    yield f"<h2><b>{method.upper()}</b> {escape(path)}</h2><p><strong>{_text(operation['summary'])}.</strong> "
    yield f"{_text(operation.get('description', ''))}</p>"
    if roles := sorted({role for one in operation.get("security", ()) for scopes in one.values() for role in scopes}):
        yield f"<p>For the role {escape(' or '.join(roles))}.</p>"
    rows = [_parameter(parameter) for parameter in operation.get("parameters", ())]
    if rows:
        yield _table(("parameter", "in", "type", "default", ""), rows)
    yield _table(("answer", "", "document"), [_answer(*answer) for answer in operation["responses"].items()])


def _parameter(parameter: Document) -> tuple[str, ...]:
    schema = parameter["schema"]
    default = "required" if parameter.get("required") else str(schema.get("default", ""))
    return parameter["name"], parameter["in"], _type(schema), default, parameter.get("description", "")


def _answer(status: str, answer: Document) -> tuple[str, ...]:
    kinds = [f"{_type(content.get('schema', {}))} {kind}" for kind, content in answer.get("content", {}).items()]
    return status, answer["description"], ", ".join(kinds)


def _schema(name: str, schema: Document) -> Iterator[str]:
    """One document's fields."""
    yield f"<h2>{escape(name)}</h2><p>{_text(schema.get('description', ''))}</p>"
    yield _table(("field", "type"), [(key, _type(field)) for key, field in schema.get("properties", {}).items()])


def _type(schema: Document) -> str:
    """A type in words: `integer from 1 to 1000`, `list of Child`, `asc, desc or null`."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        return " or ".join(map(_type, schema["anyOf"]))
    if "enum" in schema:
        return ", ".join(map(str, schema["enum"]))
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}"
    bounds = (f" {word} {schema[key]}" for key, word in (("minimum", "from"), ("maximum", "to")) if key in schema)
    return f"{schema.get('type', '')}{''.join(bounds)}"


def _table(headings: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    head = "".join(f"<th>{escape(heading)}</th>" for heading in headings)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _text(text: str) -> str:
    """A docstring's text, with its paragraphs and what it has in backquotes."""
    pieces = escape(text).split("`")
    marked = "".join(f"<code>{piece}</code>" if number % 2 else piece for number, piece in enumerate(pieces))
    return marked.replace("\n\n", "</p><p>")
