"""Descriptors made of a log line's fields: `remote_address={address},path={path}` is one of two entries."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from carbonquota.limiter.model import Descriptor, Request

DEFAULT: Final = "remote_address={address}"

_FIELD: Final = re.compile(r"\{([^{}]+)\}")

Entry = tuple[str, str]


def read_descriptor(text: str) -> tuple[Entry, ...]:
    """The entries of `key=value,key=value`; ValueError where it is something else."""
    entries = [part.partition("=") for part in text.split(",")]
    if not all(key and equals for key, equals, _ in entries):
        raise ValueError(f'"{text}" is no descriptor, such as user=alice or service=api,user=alice')
    return tuple((key, value) for key, _, value in entries)


@dataclass(frozen=True, slots=True)
class Templates:
    """How a line becomes a request. One that lacks a field has no descriptor made of it."""

    domain: str
    descriptors: tuple[tuple[Entry, ...], ...]
    tier: str = ""
    hits: str = ""

    @classmethod
    def of(cls, domain: str, descriptors: Sequence[str], tier: str = "", hits: str = "") -> Templates:
        """Read descriptors; ValueError where one is something else."""
        return cls(domain, tuple(map(read_descriptor, descriptors or (DEFAULT,))), tier, hits)

    def request(self, fields: Mapping[str, str]) -> Request:
        """The request of a line."""
        found = (_filled(entries, fields) for entries in self.descriptors)
        hits = _text(self.hits, fields) if self.hits else None
        return Request(
            self.domain,
            tuple(Descriptor(entries) for entries in found if entries is not None),
            int(hits) if hits and hits.isascii() and hits.isdigit() else 1,
            tier=_text(self.tier, fields) or "",
            address=fields.get("address", ""),
        )


def _filled(entries: tuple[Entry, ...], fields: Mapping[str, str]) -> tuple[Entry, ...] | None:
    """The entries with a line's values; None where one is missing."""
    values = [_text(value, fields) for _, value in entries]
    if any(value is None for value in values):
        return None
    return tuple((key, value or "") for (key, _), value in zip(entries, values, strict=True))


def _text(template: str, fields: Mapping[str, str]) -> str | None:
    """A template with a line's values in place of its fields; None where one is missing."""
    names = _FIELD.findall(template)
    if any(name not in fields for name in names):
        return None
    return _FIELD.sub(lambda match: fields[match[1]], template)
