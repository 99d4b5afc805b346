"""Providers: the stores of which customers hold a part."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Final

from carbonquota.hub.domain.book import Book
from carbonquota.hub.domain.errors import ConflictError, InvalidError, NotFoundError
from carbonquota.hub.domain.names import checked_name
from carbonquota.hub.domain.scraping import checked_provider
from carbonquota.hub.domain.values import Actor, Provider
from carbonquota.hub.service.writing import Writing
from carbonquota.hub.storage.providers import delete_provider, put_provider, read_providers

MOST: Final = 1000
"""Providers of a fleet."""


class Providers:
    """Providers, got and changed."""

    def __init__(self, writing: Writing, book: Book) -> None:
        """Change them by `writing`, and read them from `book`."""
        self._writing = writing
        self._book = book

    def all(self) -> list[Provider]:
        """All of them, by name."""
        return sorted(self._book.provider_at.copy().values(), key=lambda one: one.name)

    def provider(self, name: str) -> Provider:
        """One of them; NotFoundError."""
        number = self._book.provider(name)
        return self._book.provider_at[number]

    def put(self, actor: Actor, provider: Provider, expected: int | None = None) -> int:
        """Make a provider, or change it; the number of the change."""
        checked_name("provider", provider.name)
        checked_provider(provider)
        with self._writing.change() as (connection, number):
            there = read_providers(connection)
            before = there[provider.name][1] if provider.name in there else None
            _expect(provider.name, expected, before)
            if before is None and len(there) >= MOST:
                raise InvalidError(f"there are {MOST:,} providers already, which is as many as there may be")
            put_provider(connection, provider, number)
            entry = self._writing.entry(actor, "set provider", f"provider/{provider.name}", _document(before),
                                        _document(provider))  # fmt: skip
            self._writing.audit(connection, [entry])
        return number

    def delete(self, actor: Actor, name: str, expected: int | None = None) -> None:
        """Delete a provider. What it told stays with its number, and counts no more."""
        with self._writing.change() as (connection, number):
            found = read_providers(connection).get(name)
            if found is None:
                raise NotFoundError(f"there is no provider called {name!r}")
            _expect(name, expected, found[1])
            delete_provider(connection, found[0], number)
            entry = self._writing.entry(actor, "delete provider", f"provider/{name}", _document(found[1]), None)
            self._writing.audit(connection, [entry])


def _expect(name: str, expected: int | None, before: Provider | None) -> None:
    """ConflictError where a provider is not as it was expected to be."""
    there = before.change if before else 0
    if expected is not None and expected != there:
        raise ConflictError(f"provider {name!r} is version {there} now, not {expected}: read it anew")


def _document(provider: Provider | None) -> dict[str, Any] | None:
    if provider is None:
        return None
    document = asdict(provider)
    del document["change"]
    return document | {"mapping": list(provider.mapping)}
