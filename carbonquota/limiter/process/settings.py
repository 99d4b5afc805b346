"""What `carbonquota limit` is told: the values of its file by section, with their defaults."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from carbonquota.limiter.identity.heads import Forwarded, Original
from carbonquota.limiter.identity.routes import Route
from carbonquota.service.values.address import Address
from carbonquota.web.access_settings import AccessSettings

EVERY_DESCRIPTOR: Final = (("client",), ("route",), ("route", "client"))


@dataclass(frozen=True, slots=True)
class LimiterSection:
    """`rules` are files and directories in envoyproxy/ratelimit's form; `drain` seconds pass before it ends.

    A client that takes longer than `client_timeout` seconds for what it has begun is cut off. With `shadow` all
    rules are only watched: nobody is refused.
    """

    rules: tuple[str, ...] = ()
    watch_frequency: float = 2.0
    shadow: bool = False
    drain: float = 0.0
    client_timeout: float = 10.0


@dataclass(frozen=True, slots=True)
class GrpcSection:
    """Envoy's service."""

    enabled: bool = True
    listen: Address = field(default_factory=lambda: Address("127.0.0.1", 8081))
    max_connections: int = 256


@dataclass(frozen=True, slots=True)
class HttpSection:
    """The check of gateways, and JSON; `denied_status` is told of a request that may not pass."""

    enabled: bool = True
    listen: Address = field(default_factory=lambda: Address("127.0.0.1", 8080))
    max_connections: int = 4096
    denied_status: int = 429


@dataclass(frozen=True, slots=True)
class AdminSection:
    """Health, metrics and what an operator does."""

    enabled: bool = True
    listen: Address = field(default_factory=lambda: Address("127.0.0.1", 6070))
    allowed_hosts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HeadersSection:
    """Which headers answers have."""

    ietf: bool = True
    x_ratelimit: bool = False


@dataclass(frozen=True, slots=True)
class IdentitySection:
    """Who clients are, and what is asked about them."""

    domain: str = "gateway"
    descriptors: tuple[tuple[str, ...], ...] = EVERY_DESCRIPTOR
    trusted_proxies: tuple[str, ...] = ()
    forwarded: Forwarded = "x-forwarded-for"
    original: Original = "x-forwarded"
    ipv6_prefix: int = 64
    tier: str = ""
    keys_file: str = ""
    key_header: str = "x-api-key"
    required: bool = False


@dataclass(frozen=True, slots=True)
class JwtSection:
    """Whose tokens are believed; without `keys`, the path or URL of a key set (JWKS), nobody's."""

    keys: str = ""
    issuer: str = ""
    audience: str = ""
    user_claim: str = "sub"
    tier_claim: str = "tier"


@dataclass(frozen=True, slots=True)
class StoreSection:
    """Where several limiters count together; without `url`, each counts by itself."""

    url: str = ""
    name: str = "limits"
    password_file: str = ""
    timeout: float = 0.1
    processes: int = 1
    slices: bool = True


@dataclass(frozen=True, slots=True)
class HubSection:
    """The quota service whose limits are taken, where it has a `url`; `node` is what this limiter is called there.

    A poll waits for `wait` seconds at most. The release in force is kept in `kept_file`, for when it is away.
    """

    url: str = ""
    token: str = field(default="", repr=False)
    token_file: str = ""
    group: str = ""
    node: str = ""
    wait: float = 50.0
    kept_file: str = ""


@dataclass(frozen=True, slots=True)
class LimiterSettings:
    """All of it; `source` is the file."""

    source: str = ""
    limiter: LimiterSection = field(default_factory=LimiterSection)
    grpc: GrpcSection = field(default_factory=GrpcSection)
    http: HttpSection = field(default_factory=HttpSection)
    admin: AdminSection = field(default_factory=AdminSection)
    access: AccessSettings = field(default_factory=AccessSettings)
    headers: HeadersSection = field(default_factory=HeadersSection)
    identity: IdentitySection = field(default_factory=IdentitySection)
    jwt: JwtSection = field(default_factory=JwtSection)
    store: StoreSection = field(default_factory=StoreSection)
    hub: HubSection = field(default_factory=HubSection)
    routes: tuple[Route, ...] = ()
