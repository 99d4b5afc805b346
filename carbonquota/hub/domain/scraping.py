"""What a page of metrics in the Prometheus format says of customers: by labels as mapped, or by namespaces they own."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from carbonquota.hub.domain.controls import NUMBER
from carbonquota.hub.domain.errors import InvalidError
from carbonquota.hub.domain.values import Provider
from carbonquota.model import MAXIMUM, ROOT
from carbonquota.rules.component import Component, Pattern
from carbonquota.rules.glob import parse_pattern
from carbonquota.rules.matcher import Matcher

KINDS: Final = ("push", "prometheus", "carbonquota")

_USAGE: Final = "carbonquota_quota_usage"
_LEFT_OUT: Final = "carbonquota_quota_namespaces_left_out"
_CONTROLS: Final = {
    "logical_size": "bytes",
    "physical_size": "physical_bytes",
    "metrics": "metrics",
    "data_points": "data_points",
}
"""The controls of a daemon that customers hold something of, as its page calls them, and how they are called here."""


@dataclass(frozen=True, slots=True)
class Scraped:
    """By control what each customer holds; `complete` controls have all customers that hold anything."""

    amounts: dict[str, dict[str, int]]
    complete: frozenset[str]


class Owners:
    """Whose a namespace is: of several patterns that match it the last one counts."""

    def __init__(self, patterns: Iterable[tuple[str, str]]) -> None:
        """Customers and the patterns of their namespaces."""
        known = [(customer, pattern_of(pattern)) for customer, pattern in patterns]
        self._customers = [customer for customer, _ in known]
        self._matcher = Matcher([pattern for _, pattern in known])

    def of(self, namespace: str) -> str | None:
        """The customer that owns a namespace."""
        state, rule = self._matcher.root()
        for component in () if namespace == ROOT else namespace.split("."):
            state, rule = self._matcher.step(state, component)
        return self._customers[rule] if rule >= 0 else None


def pattern_of(pattern: str) -> Pattern:
    """A pattern as the matcher takes it; InvalidError."""
    components, flaws = parse_pattern(pattern)
    if flaws or not components:
        reason = flaws[0].message if flaws else "it is empty"
        raise InvalidError(f"namespaces: {pattern!r} is no pattern of namespaces: {reason}")
    return Pattern(pattern, tuple(map(Component, components)))


def read_page(text: str, provider: Provider, owners: Owners) -> Scraped:
    """What a page says; InvalidError where it is not in the Prometheus format."""
    try:
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    except (ValueError, IndexError, KeyError) as error:
        raise InvalidError(f"this is no page in the Prometheus format: {error}") from None
    found = _by_namespace(samples, owners) if provider.kind == "carbonquota" else _mapped(samples, provider.mapping)
    amounts: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for control, customer, value in found:
        if math.isfinite(value) and value >= 0:
            amounts[control][customer] = min(amounts[control][customer] + int(value), MAXIMUM)
    is_partial = any(sample.name == _LEFT_OUT and sample.value > 0 for sample in samples)
    # A page without any value of a control tells nothing of it, rather than that nobody holds anything.
    return Scraped({control: dict(held) for control, held in amounts.items()},
                   frozenset() if is_partial else frozenset(amounts))  # fmt: skip


def _by_namespace(samples: Sequence[Sample], owners: Owners) -> Iterator[tuple[str, str, float]]:
    """Control, customer and value of what one of our daemons tells."""
    for sample in samples:
        control = _CONTROLS.get(sample.labels.get("control", "")) if sample.name == _USAGE else None
        if control is not None and (owner := owners.of(sample.labels.get("namespace", ROOT))) is not None:
            yield control, owner, sample.value


def _mapped(samples: Sequence[Sample], mapping: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str, float]]:
    """Control, customer and value of what another program tells."""
    for sample in samples:
        for one in mapping:
            customer = sample.labels.get(one["label"])
            wanted = one.get("where") or {}
            is_meant = sample.name == one["metric"] and all(sample.labels.get(key) == wanted[key] for key in wanted)
            if is_meant and customer:
                yield one["control"], customer, sample.value


def checked_provider(provider: Provider) -> Provider:
    """The same; InvalidError where it cannot be."""
    if provider.kind not in KINDS:
        raise InvalidError(f"kind: {provider.kind!r} is none of {', '.join(KINDS)}")
    is_scraped = provider.kind != "push"
    if is_scraped and not provider.url.startswith(("http://", "https://")):
        raise InvalidError(
            f"url: {provider.url!r} is not that of a page of metrics, such as http://10.0.0.7:8080/metrics"
        )
    if (provider.kind == "prometheus") != bool(provider.mapping):
        raise InvalidError("mapping: a provider of kind prometheus needs one, and others have none")
    for one in provider.mapping:
        if one["control"] not in NUMBER:
            raise InvalidError(f"mapping: there is no control called {one['control']!r}: {', '.join(NUMBER)}")
    return provider
