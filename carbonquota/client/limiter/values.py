"""What the limiter's client asks, and what it is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from carbonquota.errors import QuotaError

Descriptor = Sequence[tuple[str, str]]
"""Entries of key and value, from the general to the special."""


class LimiterAwayError(QuotaError):
    """No node of the limiter answers."""


@dataclass(frozen=True, slots=True)
class Question:
    """May a request with these descriptors pass in this domain? `hits` is what it counts."""

    domain: str
    descriptors: Sequence[Descriptor]
    hits: int = 1
    tier: str = ""
    address: str = ""
    client: str = ""
    route: str = ""

    @property
    def key(self) -> str:
        """What chooses the node that keeps its counts: the domain and the first descriptor."""
        first = self.descriptors[0] if self.descriptors else ()
        return "\n".join((self.domain, *(f"{key}={value}" for key, value in first)))

    def document(self) -> dict[str, Any]:
        """As it is sent."""
        return {name: value for name, value in asdict(self).items() if value != ""}


@dataclass(frozen=True, slots=True)
class LimiterVerdict:
    """What became of a question.

    `retry_after` is how many seconds to wait after a refusal, None where waiting does not help. `remaining` of `limit`
    is left, None where there is no limit. `is_fallback` tells that no node was there to ask.
    """

    allowed: bool
    challenge: bool = False
    retry_after: float | None = 0.0
    remaining: int | None = None
    limit: int | None = None
    rule: str = ""
    leases: Sequence[Sequence[Any]] = ()
    is_fallback: bool = False

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> LimiterVerdict:
        """A verdict as it is told."""
        known = {name: document[name] for name in cls.__slots__ if name in document}
        return cls(**known)
