"""Limits suggested from usage: a percentile of what namespaces under one rule hold, with headroom, as rules to edit.

Namespaces that a rule holds are taken together, and its own controls are suggested anew. Those without a rule are taken
together by depth, up to `DEEPEST`, and get limits on metrics and logical size. What nobody holds anything of is left as
it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from math import ceil, log10
from typing import Final

from carbonquota.hub.domain.errors import InvalidError
from carbonquota.model import CONTROL_FIELDS, MAXIMUM, ROOT, Rule, Usage
from carbonquota.rules import RuleSet

DEEPEST: Final = 3
"""Parts of a namespace's name up to which rules are suggested where there is none."""
_NEW: Final = ("metrics", "logical_size")
_LARGEST_HEADROOM: Final = 100.0


def percentile(values: Sequence[int], percent: float) -> int:
    """The smallest of the values that so many percent of them are not above."""
    ordered = sorted(values)
    return ordered[max(ceil(len(ordered) * percent / 100) - 1, 0)]


def rounded_up(amount: float) -> int:
    """A number at or above, with two digits that count: 1,234 is 1,300."""
    if amount <= 1:
        return 1
    step: int = 10 ** max(int(log10(amount)) - 1, 0)
    return min(ceil(amount / step) * step, MAXIMUM)


def suggest(usages: Iterable[tuple[str, Usage]], rules: RuleSet, percent: float = 95, headroom: float = 1.5) -> str:
    """A text of rules. Each of `usages` is a namespace on one daemon; `rules` are those in force.

    InvalidError where `percent` is not from 1 to 100, or `headroom` not from 1 to 100.
    """
    if not 1 <= percent <= 100 or not 1 <= headroom <= _LARGEST_HEADROOM:
        raise InvalidError("the percentile is from 1 to 100, and the headroom from 1 to 100 times of it")
    held: dict[Rule, list[Usage]] = {rule: [] for rule in rules.rules}
    free: dict[str, list[Usage]] = {}
    for namespace, usage in usages:
        rule = rules.match(namespace)
        if rule is not None:
            held[rule].append(usage)
        elif namespace == ROOT or namespace.count(".") < DEEPEST:
            free.setdefault(_pattern(namespace), []).append(usage)
    parts = [_header(percent, headroom)]
    # What is suggested anew comes first: the last rule that matches wins, and those in force shall go on winning.
    parts += [_section(Rule(pattern), free[pattern], _NEW, percent, headroom) for pattern in sorted(free, key=_depth)]
    parts += [_section(rule, found, _controls(rule), percent, headroom) for rule, found in held.items()]
    return "\n".join(parts)


def _pattern(namespace: str) -> str:
    return ROOT if namespace == ROOT else ".".join("*" for _ in namespace.split("."))


def _depth(pattern: str) -> int:
    return 0 if pattern == ROOT else pattern.count(".") + 1


def _controls(rule: Rule) -> tuple[str, ...]:
    return tuple(name for name in CONTROL_FIELDS if getattr(rule.limits, name) is not None)


def _header(percent: float, headroom: float) -> str:
    return (
        f"# Suggested from usage: what {percent:g} % of the namespaces under each rule hold, times {headroom:g}.\n"
        "# Look at each limit before you release it.\n"
    )


def _section(rule: Rule, usages: Sequence[Usage], controls: Iterable[str], percent: float, headroom: float) -> str:
    number = f"{len(usages):,} namespace{'' if len(usages) == 1 else 's'}"
    lines = [f"# {number}", f"[{rule.pattern}]"]
    lines += [line for control in controls for line in _limit(rule, usages, control, percent, headroom)]
    if not rule.enforcing:
        lines.append("dropping-policy = none")
    if rule.stat_prefix:
        lines.append(f'stat-metric-prefix = "{rule.stat_prefix}"')
    return "\n".join(lines) + "\n"


def _limit(rule: Rule, usages: Sequence[Usage], control: str, percent: float, headroom: float) -> Iterator[str]:
    """A control with its limit, and in a comment what it is made from."""
    key = control.replace("_", "-")
    before: int | None = getattr(rule.limits, control)
    amounts = [amount for usage in usages if (amount := getattr(usage, control))]
    if not amounts or before == MAXIMUM:
        if before is not None:
            yield f"{key} = {'max' if before == MAXIMUM else format(before, ',')}"
        return
    typical = percentile(amounts, percent)
    was = "" if before is None else f", in force: {before:,}"
    yield f"# {key}: {percent:g} % hold at most {typical:,}, the largest {max(amounts):,}{was}"
    yield f"{key} = {rounded_up(typical * headroom):,}"
