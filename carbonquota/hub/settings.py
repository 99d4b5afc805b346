"""How one server of the quota service is run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from carbonquota.hub.domain.book import MOST_HELD
from carbonquota.hub.domain.grants import MAX_GRANT
from carbonquota.service.values.address import Address
from carbonquota.web.access_settings import AccessSettings

DEFAULT_DATABASE: Final = "sqlite:///var/hub.sqlite"


@dataclass(frozen=True, slots=True)
class HubSettings:
    """How often, in seconds, a server reads what others changed is its `freshness`.

    `most_held` customers are in memory. A write of more than `max_grant` is granted in slices of that, in the unit of
    the control.
    Where `store` is the URL of a Valkey, servers reserve parts of quotas there, under `store_name`, else in the
    database. Sessions of browsers are signed by what `secret_file` has, the same on all servers. `open_to_all` lets it
    listen for others although nobody needs a token. With `second_approver`, rules are in force once another
    administrator has approved of their release. A daemon that was not seen for `forget_daemons` hours is gone. Pages of
    providers are asked for with the token in `scrape_token_file`.
    """

    database: str = DEFAULT_DATABASE
    listen: Address = field(default_factory=lambda: Address("127.0.0.1", 8090))
    grpc_listen: Address = field(default_factory=lambda: Address("127.0.0.1", 8091))
    allowed_hosts: tuple[str, ...] = ()
    freshness: float = 1.0
    most_held: int = MOST_HELD
    max_grant: int = MAX_GRANT
    access: AccessSettings = field(default_factory=AccessSettings)
    secret_file: str = "var/hub-secret"  # noqa: S105 - a path
    open_to_all: bool = False
    store: str = ""
    store_password_file: str = ""
    store_name: str = "hub"
    second_approver: bool = False
    forget_daemons: float = 24.0
    scrape_token_file: str = ""
