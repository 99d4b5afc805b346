"""What becomes of rules as a whole: all of them only watched, and all of them lost."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from carbonquota.errors import ConfigError, Problem
from carbonquota.limiter.rules.lists import Clients
from carbonquota.limiter.rules.model import DescriptorNode, Domain, DomainRules
from carbonquota.rules.emptied import is_empty_on_purpose


def watched(rules: DomainRules) -> DomainRules:
    """The same rules as shadows: they count, and refuse nobody; nor do deny lists and bans."""
    return DomainRules({
        name: Domain(domain.name, _watched(domain.root), domain.allow, Clients())
        for name, domain in rules.domains.items()
    })  # fmt: skip


def _watched(node: DescriptorNode) -> DescriptorNode:
    return DescriptorNode(
        node.rule and replace(node.rule, shadow=True),
        node.shared,
        {entry: _watched(below) for entry, below in node.exact.items()},
        [(key, pattern, _watched(below)) for key, pattern, below in node.globs],
        {key: _watched(below) for key, below in node.keys.items()},
    )


def check_not_emptied(source: str, texts: Iterable[str], before: int, after: int) -> None:
    """ConfigError where all of so many rules are gone, unless a comment `# empty` says that this is meant."""
    if after or not before or any(map(is_empty_on_purpose, texts)):
        return
    message = f"there are no limits any more, while {before:,} {'is' if before == 1 else 'are'} in force"
    remedy = 'where that is meant, write a line "# empty" into a file, or restart'
    raise ConfigError([Problem(source, 0, 0, 0, "", message, remedy)])


def checked_limits(text: str, before: str | None) -> int:
    """How many rules a text has; ConfigError with all of its errors, also where all rules of `before` are lost."""
    after = len(DomainRules.from_text(text, "limits.yaml").rules())
    if before is not None:
        check_not_emptied("limits.yaml", [text], len(DomainRules.from_text(before).rules()), after)
    return after
