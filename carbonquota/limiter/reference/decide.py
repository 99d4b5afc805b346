"""How the charges of one request are decided together, over any states."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from carbonquota.limiter.algorithms import Algorithm, Outcome, State, functions_of
from carbonquota.limiter.charge import Charge, ChargeKind, Decision

StateOf = Callable[[str], State | None]


def decide(
    charges: Sequence[Charge], state_of: StateOf, now: int, *, refused: bool = False
) -> tuple[Decision, dict[str, State]]:
    """The decision on charges, and the states behind it.

    Each charge is asked behind those before it, as two may be on the same key. If a plain one does not fit, none is
    made, but for those that are made in any case; nor where the request is `refused` already.
    """
    behind: dict[str, State] = {}
    tokens: dict[int, int] = {}
    outcomes: list[Outcome] = []
    passes, forced = not refused, False
    for at, charge in enumerate(charges):
        functions = functions_of(charge.policy)
        state = behind[charge.key] if charge.key in behind else state_of(charge.key)
        outcome = functions.ask(charge.policy, state, now, charge.hits)
        outcomes.append(outcome)
        if outcome.fits or forced:
            in_flight = charge.policy.algorithm is Algorithm.CONCURRENCY
            if charge.hits or not in_flight:
                behind[charge.key] = taken = functions.take(charge.policy, state, now, charge.hits)
                if in_flight:
                    tokens[at] = taken[-2]
        elif not charge.kind & (ChargeKind.SHADOW | ChargeKind.GUARANTEE | ChargeKind.QUOTA):
            passes = False
        forced = bool(charge.kind & ChargeKind.GUARANTEE) and outcome.fits
    passes = passes and has_quota(charges, [outcome.fits for outcome in outcomes])
    if passes:
        return Decision(passes, outcomes, tokens), behind
    return Decision(passes, _untaken(charges, outcomes, state_of, now), {}), _penalties(charges, state_of, now)


def has_quota(charges: Sequence[Charge], fits: Sequence[bool]) -> bool:
    """Whether one of the quotas that are charged has room, or there is none: all charges of it fit, or are forced."""
    quotas: list[bool] = []
    for at, charge in enumerate(charges):
        if not charge.kind & ChargeKind.QUOTA:
            continue
        if not quotas or charge.kind & ChargeKind.QUOTA_BEGINS:
            quotas.append(True)
        forced = at > 0 and charges[at - 1].kind & ChargeKind.GUARANTEE and fits[at - 1]
        quotas[-1] = quotas[-1] and (fits[at] or bool(forced))
    return not quotas or any(quotas)


def _untaken(charges: Sequence[Charge], outcomes: Sequence[Outcome], state_of: StateOf, now: int) -> list[Outcome]:
    """The outcomes of a refused request: what is left where its hits were not made after all."""
    return [
        outcome._replace(remaining=left.remaining, reset=left.reset) if outcome.fits else outcome
        for outcome, left in zip(
            outcomes,
            (functions_of(one.policy).ask(one.policy, state_of(one.key), now, 0) for one in charges),
            strict=True,
        )
    ]


def _penalties(charges: Sequence[Charge], state_of: StateOf, now: int) -> dict[str, State]:
    """The states behind a refused request: only some rules charge it."""
    behind: dict[str, State] = {}
    for charge in charges:
        # Who was refused is not in flight.
        if charge.kind & ChargeKind.CHARGE_DENIED and charge.policy.algorithm is not Algorithm.CONCURRENCY:
            state = behind[charge.key] if charge.key in behind else state_of(charge.key)
            behind[charge.key] = functions_of(charge.policy).penalize(charge.policy, state, now, charge.hits)
    return behind
