"""What the commands on rate limits share: their rules, a domain, descriptors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from carbonquota.errors import InputError
from carbonquota.limiter.model import Limit
from carbonquota.limiter.rules import DomainRules, load_rules
from carbonquota.suggest import did_you_mean

Command = TypeVar("Command", bound=Callable[..., Any])


def rules_option(command: Command) -> Command:
    """`--rules PATH`, any number of times."""
    return click.option("--rules", "paths", metavar="PATH", required=True, multiple=True,
                        type=click.Path(path_type=str, readable=False),
                        help="A file of rules, or a directory of such. Repeatable.")(command)  # fmt: skip


def domain_option(command: Command) -> Command:
    """`--domain NAME`."""
    return click.option("--domain", metavar="NAME", default="", help="Of the rules; may be left out where there is one."
                        )(command)  # fmt: skip


def read_rules(paths: Sequence[str]) -> DomainRules:
    """The rules; ConfigError with all that is wrong with them."""
    return load_rules(paths)


def domain_of(rules: DomainRules, name: str) -> str:
    """The domain that is asked for, or the only one; InputError where there is no such."""
    if not name and len(rules.domains) == 1:
        return next(iter(rules.domains))
    if name not in rules.domains:
        hint = did_you_mean(name, rules.domains, "domains")
        message = f'there is no domain "{name}"' if name else "there are several domains: choose one with --domain"
        raise InputError(f"{message}; {hint}")
    return name


def shown(limit: Limit | None) -> str:
    """A limit as people read it."""
    if limit is None:
        return "-"
    unit = limit.unit.value if limit.multiplier == 1 else f"{limit.multiplier} {limit.unit.value}s"
    return f"{limit.requests:,}/{unit}"
