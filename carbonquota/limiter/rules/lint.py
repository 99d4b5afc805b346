"""What rules without errors may still get wrong, each finding with a stable code.

| code | severity | finding | |---|---|---| | R001 | warning | a `burst` that makes the limit mean little: more than a
tenfold of `requests_per_unit`, or an hour's refill | | R002 | warning | a `burst` of 0, or a `cost` above what fits at
once: nothing ever passes | | R003 | warning | a limit that can never be reached, as another one of the same rule grants
less | | R004 | warning | a glob that never matches, as an earlier one matches all of its values | | R005 | warning |
`replaces` names a limit that there is not | | R006 | warning | a name on the allow list and on the deny list: it is
denied | | R007 | info | `requests_per_unit: 0` refuses everything: a deny list says so | | R008 | warning | a guarantee
for somebody on the deny list |
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from carbonquota.errors import Problem
from carbonquota.limiter.algorithms import Algorithm
from carbonquota.limiter.rules.model import CompiledLimit, DescriptorNode, DescriptorRule, Domain, DomainRules
from carbonquota.rules.lint import Finding, Severity

_LARGE_BURST: Final = 10
_LONG_REFILL: Final = 3_600


def lint(rules: DomainRules) -> tuple[Finding, ...]:
    """All findings, in the order of files and lines."""
    found = [
        Finding(code, severity, problem)
        for domain in rules.domains.values()
        for code, severity, check in _CHECKS
        for problem in check(domain, rules)
    ]
    return tuple(sorted(found, key=lambda one: (one.problem.source, one.problem.line, one.code)))


def _at(rule: DescriptorRule, message: str, suggestion: str = "") -> Problem:
    """A problem with a rule, at its line."""
    column = len(rule.text) - len(rule.text.lstrip(" -")) + 1
    return Problem(rule.source, rule.line, column, len(rule.text) - column + 1, rule.text, message, suggestion)


def _grants(rule: DescriptorRule) -> Iterator[tuple[str, CompiledLimit]]:
    """All limits of a rule, with what to call them."""
    for tier, grants in (("", rule.grants), *rule.tiers.items()):
        for grant in grants:
            yield (f"tier {tier}: " if tier else ""), grant


def _large_bursts(domain: Domain, _: DomainRules) -> Iterator[Problem]:
    for rule in domain.rules():
        for where, grant in _grants(rule):
            policy, limit = grant.policy, grant.limit
            if policy.algorithm is not Algorithm.TOKEN_BUCKET or not limit.requests:
                continue
            refill = policy.most / limit.requests * limit.seconds
            if policy.most > _LARGE_BURST * limit.requests or (
                policy.most > limit.requests and refill > max(_LONG_REFILL, limit.seconds)
            ):
                message = f"{where}a burst of {policy.most:,} is {refill:,.0f} s of {_rate(grant)}"
                yield _at(rule, message, "that many pass at once; a burst of one unit's requests is usual")


def _rate(grant: CompiledLimit) -> str:
    limit = grant.limit
    unit = limit.unit.value if limit.multiplier == 1 else f"{limit.multiplier} {limit.unit.value}s"
    return f"{limit.requests:,} a {unit}"


def _never_passing(domain: Domain, _: DomainRules) -> Iterator[Problem]:
    for rule in domain.rules():
        for where, grant in _grants(rule):
            if grant.limit.requests and grant.cost > grant.policy.most:
                message = (
                    f"{where}a hit costs {grant.cost:,} and at most {grant.policy.most:,} fit: nothing ever passes"
                )
                yield _at(rule, message)


def _out_of_reach(domain: Domain, _: DomainRules) -> Iterator[Problem]:
    for rule in domain.rules():
        for some in (rule.grants, *rule.tiers.values()):
            for grant in some:
                for other in some:
                    if _leaves_no_reach(other, grant):
                        yield _at(rule, f"{_rate(grant)} can never be reached, as {_rate(other)} grants less")


def _leaves_no_reach(lower: CompiledLimit, upper: CompiledLimit) -> bool:
    """Whether a limit of a shorter time never lets so much pass as one of a longer time grants."""
    if lower is upper or lower.policy.algorithm is not upper.policy.algorithm or lower.cost != upper.cost:
        return False
    if lower.policy.algorithm is not Algorithm.FIXED_WINDOW or upper.limit.seconds % lower.limit.seconds:
        return False
    return lower.limit.requests * (upper.limit.seconds // lower.limit.seconds) <= upper.limit.requests


def _nodes(node: DescriptorNode) -> Iterator[DescriptorNode]:
    yield node
    for below in (*node.exact.values(), *(one for _, _, one in node.globs), *node.keys.values()):
        yield from _nodes(below)


def _hidden_globs(domain: Domain, _: DomainRules) -> Iterator[Problem]:
    for node in _nodes(domain.root):
        for at, (key, pattern, hidden) in enumerate(node.globs):
            # A glob that matches another's text with a letter for each star matches all that the other does.
            sample = pattern.pattern.replace(".*", "\x00").replace("\\", "")
            first = next((one for name, one, _ in node.globs[:at] if name == key and one.fullmatch(sample)), None)
            if first is not None and (rule := next(hidden.rules(), None)) is not None:
                shown = first.pattern.replace(".*", "*").replace("\\", "")
                yield _at(rule, f'it never matches, as "{shown}" stands before it and matches all of its values')


def _missing_names(domain: Domain, rules: DomainRules) -> Iterator[Problem]:
    known = frozenset().union(*(rule.limit_names for rule in rules.domains[domain.name].rules()))
    for rule in domain.rules():
        for name in sorted(rule.replaces - known):
            yield _at(rule, f'it replaces "{name}", and no limit of this domain is called so')


def _on_both_lists(domain: Domain, _: DomainRules) -> Iterator[Problem]:
    both = [f"{key}: {value}" for key, value in sorted(domain.allow.entries & domain.deny.entries)]
    both += [
        f"a network of /{(32 if version == 4 else 128) - shift}"
        for (version, shift), prefixes in domain.allow.networks.items()
        if prefixes & domain.deny.networks.get((version, shift), frozenset())
    ]
    for what in both:
        source = next((rule.source for rule in domain.rules()), domain.name)
        yield Problem(source, 0, 0, 0, "", f'domain "{domain.name}": {what} is allowed and denied: it is denied')


def _refusing_all(domain: Domain, _: DomainRules) -> Iterator[Problem]:
    for rule in domain.rules():
        if any(grant.limit.requests == 0 for grant in rule.grants):
            yield _at(rule, "requests_per_unit: 0 refuses everything", 'a "deny" list says that without counting')


def _denied_guarantees(domain: Domain, _: DomainRules) -> Iterator[Problem]:
    for rule in domain.rules():
        key = rule.name.rpartition(".")[2]
        for name in rule.guarantees:
            if (key, name) in domain.deny.entries:
                yield _at(rule, f'"{name}" has a guarantee, and is on the deny list')


_CHECKS: Final[tuple[tuple[str, Severity, Callable[[Domain, DomainRules], Iterator[Problem]]], ...]] = (
    ("R001", Severity.WARNING, _large_bursts),
    ("R002", Severity.WARNING, _never_passing),
    ("R003", Severity.WARNING, _out_of_reach),
    ("R004", Severity.WARNING, _hidden_globs),
    ("R005", Severity.WARNING, _missing_names),
    ("R006", Severity.WARNING, _on_both_lists),
    ("R007", Severity.INFO, _refusing_all),
    ("R008", Severity.WARNING, _denied_guarantees),
)
