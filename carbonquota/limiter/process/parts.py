"""The parts of a limiter process, made from its settings and wired; nothing is opened here."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from carbonquota.client.fleet_follower import FleetFollower
from carbonquota.cluster.store import connector
from carbonquota.errors import ConfigError, InputError, Problem, QuotaError
from carbonquota.limiter.abuse import BanEvent
from carbonquota.limiter.charge import Counters
from carbonquota.limiter.faces.checker import FaceStats
from carbonquota.limiter.faces.grpc.calls import LimiterCalls
from carbonquota.limiter.faces.grpc.messages import Messages
from carbonquota.limiter.faces.headers import HeaderStyle
from carbonquota.limiter.faces.http.handlers import Handlers
from carbonquota.limiter.identity.address import ClientAddress, read_networks
from carbonquota.limiter.identity.heads import RequestHeadReader
from carbonquota.limiter.identity.keys import ApiKeys, read_keys
from carbonquota.limiter.identity.resolve import IdentityPolicy, IdentityResolver, Verify
from carbonquota.limiter.identity.routes import Routes
from carbonquota.limiter.identity.tokens import TokenVerifier
from carbonquota.limiter.process.exposition import LimiterExposition
from carbonquota.limiter.process.hub_limits import HubLimits
from carbonquota.limiter.process.settings import JwtSection, LimiterSettings, StoreSection
from carbonquota.limiter.rulebook import LimitRulebook
from carbonquota.limiter.rules import DomainRules
from carbonquota.limiter.rules.releases import watched
from carbonquota.limiter.service import Limiter
from carbonquota.limiter.stats import Sample
from carbonquota.limiter.stores import SharedSwitches, StoreCounters, StoreSettings
from carbonquota.model import Clock
from carbonquota.web.jwt_tokens import JwtAuthenticator, JwtSettings
from carbonquota.web.token_file import TokenFile

_log = logging.getLogger(__name__)

STARTING: Final = "the limiter is starting"


@dataclass(slots=True)
class LimiterStatus:
    """What the process waits for, one line each, and by how much its event loop was late when it last turned."""

    started: float
    waits_for: tuple[str, ...] = (STARTING,)
    lag: float = 0.0
    _turned: float = field(default_factory=time.monotonic)

    def turned(self, late: float) -> None:
        """Note that the loop turned, so many seconds late."""
        self.lag = max(late, 0.0)
        self._turned = time.monotonic()

    def failing(self, most: float) -> tuple[str, ...]:
        """Why the process should be restarted: its loop has not turned for more than `most` seconds."""
        stands = time.monotonic() - self._turned
        return (f"the event loop has not turned for {stands:.0f} s: nobody is answered",) if stands > most else ()


class LimiterParts:
    """All that a process is made of."""

    def __init__(self, settings: LimiterSettings, clock: Clock = time.time) -> None:
        """Read rules and keys; ConfigError or InputError where they are bad."""
        self.settings = settings
        self.status = LimiterStatus(clock())
        hub = HubLimits(settings.hub) if settings.hub.url else None
        if not settings.limiter.rules and hub is None:
            message = "no rules: the limiter would let everything pass"
            hint = 'set rules = ["limits.yaml"] in [limiter], or url in [hub], or name files on the command line'
            raise ConfigError([Problem(settings.source or "limit", 0, 0, 0, "", message, hint)])
        self.rulebook = LimitRulebook(
            settings.limiter.rules, self._apply, clock, released=hub.released if hub else lambda: None
        )
        self.follower = FleetFollower(hub, self.rulebook) if hub else None
        self.limiter = Limiter(
            self._in_force(self.rulebook.rules),
            counters=make_counters(settings.store, clock),
            clock=clock,
            on_ban=_log_ban,
        )
        self.switches = make_switches(settings.store, self.limiter, clock)
        self.tokens: TokenFile | None = None
        self.faces = {"grpc": FaceStats(), "http": FaceStats()}
        style = HeaderStyle(settings.headers.ietf, settings.headers.x_ratelimit)
        self.calls = LimiterCalls(self.limiter, Messages(style), self.faces["grpc"], lambda: self.is_ready)
        self.handlers = Handlers(
            self.limiter,
            *make_identity(settings, clock),
            self.faces["http"],
            style,
            settings.http.denied_status,
            lambda: self.is_ready,
        )
        self.exposition = LimiterExposition(self.samples, self.faces, own_version())

    @property
    def is_ready(self) -> bool:
        """Whether it serves, and goes on to."""
        return not self.status.waits_for

    @property
    def troubles(self) -> tuple[str, ...]:
        """What is wrong while it serves all the same, one line each."""
        last = self.rulebook.last
        first = last.error.partition("\n")[0]
        stale = () if last.ok else (f"the rules in force are not those of the files: {first}",)
        follower = self.follower.troubles if self.follower else ()
        tokens = self.tokens.troubles if self.tokens else ()
        return (*stale, *follower, *tokens, *self.limiter.troubles)

    def reload_keys(self) -> None:
        """Read the API keys anew; where that fails, those of before stay."""
        path = self.settings.identity.keys_file
        if not path:
            return
        try:
            self.handlers.identity.keys.replace(read_keys(Path(path)))
        except QuotaError as error:
            _log.error("%s; the keys of before stay", error)
        else:
            _log.info("%d API keys are known", len(self.handlers.identity.keys))

    def samples(self) -> Iterator[Sample]:
        """What the limiter and the process tell of themselves."""
        yield from self.limiter.samples()
        yield from self.rulebook.samples()
        for one in self.follower.health() if self.follower else ():
            yield Sample(f"limiter_{one.stat}", one.value)
        yield Sample("limiter_event_loop_lag_seconds", self.status.lag)
        yield Sample("limiter_start_time", self.status.started)

    def _apply(self, rules: DomainRules) -> None:
        self.limiter.apply(self._in_force(rules))

    def _in_force(self, rules: DomainRules) -> DomainRules:
        return watched(rules) if self.settings.limiter.shadow else rules


def make_switches(store: StoreSection, limiter: Limiter, clock: Clock) -> SharedSwitches | None:
    """What keeps bans and brownouts as other limiters have them; None without a store."""
    if not store.url:
        return None
    password = read_secret(store.password_file) if store.password_file else ""
    connect = connector(store.url, max(store.timeout, 1.0), password)
    return SharedSwitches(connect, store.name, limiter.bans, limiter.brownout, clock)


def make_counters(store: StoreSection, clock: Clock) -> Counters | None:
    """Counters in the store; None where none is named, which counts in this process."""
    if not store.url:
        return None
    password = read_secret(store.password_file) if store.password_file else ""
    settings = StoreSettings(store.url, store.name, password, store.timeout, store.processes, store.slices)
    return StoreCounters(settings, clock=clock)


def read_secret(path: str) -> str:
    """The one line of a file; InputError where it cannot be read."""
    try:
        return Path(path).read_text("utf-8").strip()
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: the store's password cannot be read: {error}") from None


def make_identity(settings: LimiterSettings, clock: Clock) -> tuple[IdentityResolver, RequestHeadReader]:
    """What makes questions of heads, and what reads these."""
    own = settings.identity
    addresses = ClientAddress(read_networks(own.trusted_proxies), ipv6_prefix=own.ipv6_prefix)
    keys = read_keys(Path(own.keys_file)) if own.keys_file else ApiKeys()
    jwt = settings.jwt
    policy = IdentityPolicy(own.domain, own.descriptors, jwt.user_claim, jwt.tier_claim, own.tier, own.required)
    identity = IdentityResolver(policy, addresses, Routes(settings.routes), keys, make_verify(jwt, clock))
    reader = RequestHeadReader(addresses, original=own.original, forwarded=own.forwarded, key_field=own.key_header)
    return identity, reader


def make_verify(jwt: JwtSection, clock: Clock) -> Verify | None:
    """What knows genuine tokens; None where none is believed. QuotaError where the key set cannot be read now."""
    if not jwt.keys:
        return None
    authenticator = JwtAuthenticator(JwtSettings(jwt.keys, jwt.issuer, jwt.audience), time.monotonic)
    authenticator.load()
    return TokenVerifier(authenticator.verify, clock).verify


def own_version() -> str:
    """The version that is installed."""
    try:
        return version("carbonquota")
    except PackageNotFoundError:
        return "unknown"


def _log_ban(event: BanEvent) -> None:
    _log.warning("%s", event)
