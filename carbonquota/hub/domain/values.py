"""What is stored and told: customers, providers, quotas, and who changed them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from carbonquota.hub.domain.controls import Amounts

AGGREGATE: Final = ""
"""In the place of a provider's name: the quota over all providers together."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks for a change, and why."""

    name: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class Customer:
    """A customer, and the namespaces that it owns on our daemons, as patterns (`team.a`, `tenant-*.7`).

    `change` is the number of the change that made it what it is; a greater one is later.
    """

    name: str
    namespaces: tuple[str, ...] = ()
    about: str = ""
    change: int = 0


@dataclass(frozen=True, slots=True)
class Quota:
    """The limits of a customer, in all or at one provider.

    Others may have changed it in the last `age` seconds: 0 where it was read from the database just now.
    """

    customer: str
    limits: Amounts
    provider: str = AGGREGATE
    change: int = 0
    age: float = 0.0


@dataclass(frozen=True, slots=True)
class QuotaChange:
    """A quota as it shall be (None: deleted), by whom it may be in force at `expected`.

    `expected` is the change that the one who asks has seen: None is whatever there is, 0 is that there is none yet.
    """

    customer: str
    limits: Amounts | None
    provider: str = AGGREGATE
    expected: int | None = None


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One change: who made it, when (seconds since the epoch), of what, and why; None is that there was nothing."""

    time: float
    actor: str
    action: str
    subject: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    why: str = ""
    number: int = 0


@dataclass(frozen=True, slots=True)
class Provider:
    """A store of which customers hold a part.

    `kind` is `push` (it tells what is used), `prometheus` (its `/metrics` at `url` are read by `mapping`) or
    `carbonquota` (one of our daemons at `url`). It is stale where nothing was known for `stale_after` seconds.
    """

    name: str
    kind: str = "push"
    url: str = ""
    interval: float = 60.0
    stale_after: float = 180.0
    mapping: tuple[dict[str, Any], ...] = field(default=())
    about: str = ""
    change: int = 0
