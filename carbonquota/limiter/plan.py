"""One request on its way: which rules hold it, what these charge, and the answer that a decision makes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Final

from carbonquota.limiter.algorithms import NEVER, Algorithm, Outcome, policy_of
from carbonquota.limiter.charge import Charge, ChargeKind, Decision
from carbonquota.limiter.model import Answer, Code, Descriptor, FullAnswer, Lease, Reason, Request, Status
from carbonquota.limiter.rules.lists import ADDRESS_KEYS
from carbonquota.limiter.rules.model import SEPARATOR, CompiledLimit, DescriptorRule, Domain, Match, OnOutage, escaped

Dim = Callable[[CompiledLimit], CompiledLimit]
"""Multiplies a limit, where all of a tier are."""

TIER_KEY: Final = "tier"
"""The only key of a descriptor that names the request's tier, where the request does not."""

_LONGEST_KEY: Final = 200
"""Characters of a counter's key; what is sent may be as long as a header."""

_MOST_KNOWN: Final = 4_096
_LONGEST_KNOWN: Final = 512
"""Plans that are kept, and characters of their requests."""

NO_RULE: Final = Status(Code.OK, Reason.NO_RULE)
_ALLOWED: Final = Status(Code.OK, Reason.ALLOWED)
_DENIED: Final = Status(Code.OVER_LIMIT, Reason.DENIED, remaining=0, retry_after=None)


def listed(domain: Domain, request: Request) -> Answer | None:
    """The answer to who is on a list of the domain; being denied comes first."""
    if domain.deny and domain.deny.has(request):
        return FullAnswer(Code.OVER_LIMIT, (_DENIED,) * len(request.descriptors))
    if domain.allow and domain.allow.has(request):
        return FullAnswer(Code.OK, (_ALLOWED,) * len(request.descriptors))
    return None


def banned(request: Request, left: float) -> Answer:
    """The answer to a client that is denied for so many seconds more."""
    status = Status(Code.OVER_LIMIT, Reason.BANNED, remaining=0, reset=left, retry_after=left)
    return FullAnswer(Code.OVER_LIMIT, (status,) * len(request.descriptors))


def identity_of(request: Request) -> str:
    """The name or the address of a request's client; empty where it tells neither."""
    named = request.client or request.address
    if named:
        return named
    return next((value for one in request.descriptors for key, value in one.entries if key in ADDRESS_KEYS), "")


def client_of(request: Request) -> str:
    """What a request is listed under: its client, or else what its first descriptor says, which many may share."""
    named = identity_of(request)
    if named or not request.descriptors:
        return named
    return ",".join(f"{key}={value}" for key, value in request.descriptors[0].entries)


def tier_of(request: Request) -> str:
    """The tier of a request."""
    if request.tier:
        return request.tier
    for descriptor in request.descriptors:
        if len(descriptor.entries) == 1 and descriptor.entries[0][0] == TIER_KEY:
            return descriptor.entries[0][1]
    return ""


class RequestPlan:
    """The charges of a request, and the answer behind them."""

    __slots__ = ("_dim", "_grants", "_request", "_spans", "charges", "domain", "matches", "tier")

    def __init__(self, domain: Domain | None, request: Request, tier: str, dim: Dim | None = None) -> None:
        """Match a request of a tier in its domain, None where there is no such; `dim` changes its limits."""
        self._request = request
        self._dim = dim
        self.domain = domain
        self.tier = tier
        self.matches = [_match(domain, request.domain, one) for one in request.descriptors]
        self.charges: list[Charge] = []
        self._grants: list[CompiledLimit] = []
        self._spans: list[tuple[int, int]] = []
        replaced = _replaced(self.matches)
        for descriptor, match in zip(request.descriptors, self.matches, strict=True):
            first = len(self.charges)
            if match is not None and match.rule.limit_names.isdisjoint(replaced):
                self._charge(descriptor, match)
            self._spans.append((first, len(self.charges)))

    def _charge(self, descriptor: Descriptor, match: Match) -> None:
        """Add what a descriptor is charged by its rule."""
        rule, key, value = match
        hits = max(self._request.hits if descriptor.hits is None else descriptor.hits, 0)
        if rule.guarantees and (own := rule.guarantees.get(value)) is not None:
            self._add(
                SEPARATOR.join((key, value)), own, hits, ChargeKind.GUARANTEE | (rule.kind & ChargeKind.FAIL_CLOSED)
            )
        begins = ChargeKind.QUOTA_BEGINS if rule.kind & ChargeKind.QUOTA else 0
        for grant in rule.grants_of(self.tier):
            self._add(key, grant, hits, rule.kind | begins)
            begins = 0

    def _add(self, key: str, grant: CompiledLimit, hits: int, kind: int) -> None:
        if self._dim is not None:
            grant = self._dim(grant)
        counter = f"{key}{SEPARATOR}{grant.suffix}"
        if len(counter) > _LONGEST_KEY:
            counter = shortened(counter)
        self.charges.append(Charge(counter, grant.policy, hits * grant.cost, kind))
        self._grants.append(grant)

    def answer(self, decision: Decision) -> Answer:
        """The answer that a decision makes."""
        challenge, statuses = False, []
        for match, one, (first, last) in zip(self.matches, self._request.descriptors, self._spans, strict=True):
            status = self._status(match, one, first, last, decision)
            statuses.append(status)
            if status.code is Code.OVER_LIMIT and match is not None:
                challenge = challenge or match.rule.challenge
        leases = tuple(self._lease(at, token) for at, token in decision.tokens.items()) if decision.tokens else ()
        return FullAnswer(Code.OK if decision.passes else Code.OVER_LIMIT, tuple(statuses), challenge, leases)

    def _lease(self, at: int, token: int) -> Lease:
        charge = self.charges[at]
        return Lease(charge.key, token, charge.hits)

    def _status(self, match: Match | None, one: Descriptor, first: int, last: int, decision: Decision) -> Status:
        """What became of a descriptor, by the charges from `first` on."""
        if match is None:
            return NO_RULE
        rule = match.rule
        name = rule.name_for(one.entries)
        if first == last:
            reason = Reason.REPLACED if rule.grants_of(self.tier) else Reason.UNLIMITED
            return Status(Code.OK, reason, rule=name)
        at = first if last - first == 1 else self._telling(first, last, decision.outcomes)
        fits, remaining, reset, retry = decision.outcomes[at]
        limit, reset_seconds = self._grants[at].limit, reset / 1e6
        reason = _reason(rule.on_outage, is_over=not fits) if decision.outage else Reason.UNDER if fits else Reason.OVER
        if fits or rule.shadow:
            return Status(Code.OK, reason, limit, remaining, reset_seconds, 0.0, not fits, name)
        wait = None if retry == NEVER else retry / 1e6
        return Status(Code.OVER_LIMIT, reason, limit, remaining, reset_seconds, wait, False, name)  # noqa: FBT003

    def _telling(self, first: int, last: int, outcomes: Sequence[Outcome]) -> int:
        """Which of a descriptor's charges its status tells of: its guarantee if that holds, else what leaves least."""
        if self.charges[first].kind & ChargeKind.GUARANTEE:
            if outcomes[first].fits:
                return first
            first += 1
        return min(range(first, last), key=lambda at: _order(outcomes[at])) if last - first > 1 else first


class KnownPlans:
    """Plans of requests that were asked lately, under the same rules. Safe to use from any thread."""

    def __init__(self) -> None:
        self._plans: OrderedDict[Request, RequestPlan] = OrderedDict()

    def unlisted(self, request: Request) -> RequestPlan | None:
        """The plan of a request that is known, in a domain without lists; None of any other."""
        try:
            plan = self._plans.get(request)
        except TypeError:
            return None
        return plan if plan is not None and not (plan.domain and (plan.domain.deny or plan.domain.allow)) else None

    def of(self, domain: Domain | None, request: Request, tier: str) -> RequestPlan:
        """The plan of a request of a tier."""
        try:
            known = self._plans.get(request)
        except TypeError:  # whoever hands in lists for tuples is served all the same
            return RequestPlan(domain, request, tier)
        if known is not None:
            return known
        plan = RequestPlan(domain, request, tier)
        if _length(request) <= _LONGEST_KNOWN:
            if len(self._plans) >= _MOST_KNOWN:
                self._plans.popitem(last=False)
            self._plans[request] = plan
        return plan


def _length(request: Request) -> int:
    """The characters of a request that may be of any length."""
    entries = sum(len(key) + len(value) for one in request.descriptors for key, value in one.entries)
    return entries + len(request.address) + len(request.client) + len(request.route)


def shortened(key: str) -> str:
    """A key that stands for one that is too long; the domain before it stays."""
    domain = key.partition(SEPARATOR)[0]
    digest = blake2b(key.encode("utf-8", "surrogatepass"), digest_size=20).hexdigest()
    return f"{domain}{SEPARATOR}{digest}"


def _match(domain: Domain | None, name: str, descriptor: Descriptor) -> Match | None:
    """The rule that holds a descriptor, or what its own limit makes of it."""
    if domain is None:
        return None
    if descriptor.limit is None:
        return domain.match(descriptor.entries)
    limit = descriptor.limit
    parts = (f"{key}_{value}" if value else key for key, value in descriptor.entries)
    grant = CompiledLimit(limit, policy_of(Algorithm.FIXED_WINDOW, limit.requests, limit.seconds), suffix="own")
    key = SEPARATOR.join((name, *(escaped(part) for entry in descriptor.entries for part in entry)))
    return Match(DescriptorRule(".".join((name, *parts)), (grant,)), key, "")


def _replaced(matches: Sequence[Match | None]) -> frozenset[str]:
    """The names of limits that do not count for a request, as other rules that hold it take their place."""
    if len(matches) < 2:
        return frozenset()
    return frozenset().union(*(match.rule.replaces for match in matches if match is not None))


def _reason(on_outage: OnOutage, *, is_over: bool) -> Reason:
    """Why a descriptor got its code while the store is away."""
    if on_outage is OnOutage.OPEN:
        return Reason.FAIL_OPEN
    if on_outage is OnOutage.CLOSED:
        return Reason.FAIL_CLOSED
    return Reason.SHARE if is_over else Reason.UNDER


def _order(outcome: Outcome) -> tuple[bool, int]:
    """What is lowest for the limit of a rule that a client should be told of."""
    if outcome.fits:
        return True, outcome.remaining
    return False, -outcome.retry if outcome.retry != NEVER else -(2**63)
