"""The limits of a rule, as they are written -> as they are decided by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from carbonquota.limiter.algorithms import Algorithm, policy_of
from carbonquota.limiter.model import Limit, Unit
from carbonquota.limiter.rules.model import CompiledLimit, OnOutage
from carbonquota.limiter.rules.yaml_nodes import NodeValue, Reader

_UNITS = "units are: second, minute, hour, day, week, month, year"


@dataclass(frozen=True, slots=True)
class Defaults:
    """What holds for rules that do not say it themselves."""

    algorithm: Algorithm = Algorithm.FIXED_WINDOW
    on_outage: OnOutage = OnOutage.SHARE


def grants_of(reader: Reader, limits: Sequence[NodeValue], defaults: Defaults) -> tuple[CompiledLimit, ...]:
    """The grants of limits, none where one of them is `unlimited`."""
    found: list[CompiledLimit] = []
    for limit in limits:
        fields = limit.value
        if "unlimited" in fields and fields["unlimited"].value:
            _check_unlimited(reader, fields, alone=len(limits) == 1)
            continue
        grant = _grant(reader, limit, defaults, at=len(found))
        if grant is not None:
            found.append(grant)
    return tuple(found)


def _check_unlimited(reader: Reader, fields: Mapping[str, NodeValue], *, alone: bool) -> None:
    for key in ("unit", "requests_per_unit", "burst", "algorithm"):
        if key in fields:
            reader.note(fields[key].node, f'"{key}" beside "unlimited"', "remove one of the two")
    if not alone:
        reader.note(fields["unlimited"].node, '"unlimited" beside other limits', "remove it, or the others")


def _grant(reader: Reader, limit: NodeValue, defaults: Defaults, at: int) -> CompiledLimit | None:
    """One limit; None after a problem was noted."""
    fields: Mapping[str, NodeValue] = limit.value
    for key, hint in (("unit", _UNITS), ("requests_per_unit", 'for no limit, write "unlimited: true"')):
        if key not in fields:
            if not _is_noted(reader, limit):
                reader.note(limit.node, f'a limit without "{key}"', hint)
            return None
    algorithm = _get(fields, "algorithm", defaults.algorithm)
    if "burst" in fields and algorithm is not Algorithm.TOKEN_BUCKET:
        reader.note(fields["burst"].node, f'"burst" has no meaning for {algorithm.name.lower()}',
                    'write "algorithm: token_bucket" beside it')  # fmt: skip
        return None
    unit: Unit = fields["unit"].value
    requests: int = fields["requests_per_unit"].value
    granted = Limit(requests, unit, _get(fields, "name", ""), _get(fields, "unit_multiplier", 1))
    policy = policy_of(algorithm, requests, granted.seconds, _get(fields, "burst", None))
    return CompiledLimit(granted, policy, _get(fields, "cost", 1), f"{algorithm:d}.{at}")


def _is_noted(reader: Reader, limit: NodeValue) -> bool:
    """Whether a problem stands within a limit already, which is then why a key is missing."""
    first, last = limit.node.start_mark.line + 1, limit.node.end_mark.line + 1
    return any(first <= problem.line <= last for problem in reader.problems)


def guarantees_of(
    reader: Reader, fields: Mapping[str, NodeValue], grants: Sequence[CompiledLimit]
) -> dict[str, CompiledLimit]:
    """The shares of a total that are clients' own, each counted as the total is."""
    if "guarantee" not in fields:
        return {}
    shares: Mapping[str, NodeValue] = fields["guarantee"].value
    if len(grants) != 1:
        if not grants and reader.problems:
            return {}
        reader.note(fields["guarantee"].node, '"guarantee" needs one limit, which is the total')
        return {}
    if fields.get("value") is not None and fields["value"].value:
        reader.note(fields["value"].node, '"guarantee" needs a descriptor without value, as it names the values')
        return {}
    total = grants[0]
    if sum(share.value for share in shares.values()) > total.limit.requests:
        reader.note(fields["guarantee"].node, f"the guarantees come to more than the total of {total.limit.requests:,}")
    return {name: _share(total, share.value) for name, share in shares.items()}


def _share(total: CompiledLimit, requests: int) -> CompiledLimit:
    limit = Limit(requests, total.limit.unit, total.limit.name, total.limit.multiplier)
    return CompiledLimit(
        limit, policy_of(total.policy.algorithm, requests, limit.seconds), total.cost, f"{total.policy.algorithm:d}.own"
    )


def _get(fields: Mapping[str, NodeValue], key: str, default: Any) -> Any:  # noqa: ANN401 - as the key has it
    found = fields.get(key)
    return default if found is None else found.value
