"""How one server of the quota service is run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from carbonquota.service.values.address import Address

DEFAULT_DATABASE: Final = "sqlite:///var/hub.sqlite"


@dataclass(frozen=True, slots=True)
class HubSettings:
    """`freshness` is how often, in seconds, a server reads what others changed."""

    database: str = DEFAULT_DATABASE
    listen: Address = field(default_factory=lambda: Address("127.0.0.1", 8090))
    allowed_hosts: tuple[str, ...] = ()
    freshness: float = 1.0
