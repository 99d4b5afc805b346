"""`carbonquota limits`: rules of the rate limiter checked, explained and tried on access logs."""

from __future__ import annotations

import click

from carbonquota.cli.missing import advice
from carbonquota.errors import InputError

try:
    from carbonquota.cli.limits.check import command as check
    from carbonquota.cli.limits.dry_run import command as dry_run
    from carbonquota.cli.limits.explain import command as explain
except ModuleNotFoundError as error:
    if (error.name or "").startswith("carbonquota"):
        raise
    raise InputError(f"limits needs the package {error.name}: {advice('limiter')}") from error


@click.group("limits")
def command() -> None:
    """Check, explain and try rules of rate limits, without enforcing them."""


for one in (check, explain, dry_run):
    command.add_command(one)

__all__ = ["command"]
