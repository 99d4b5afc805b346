"""`carbonquota limits explain`: which rule holds a descriptor, what it grants, and what is left of that."""

from __future__ import annotations

import click

from carbonquota.cli.limits.options import domain_of, domain_option, read_rules, rules_option, shown
from carbonquota.cli.options import output_options
from carbonquota.cli.output import Column, Json, Output, TextTable, Tone
from carbonquota.errors import InputError
from carbonquota.limiter.model import UNLIMITED, Descriptor, Request, Status
from carbonquota.limiter.rules import DomainRules
from carbonquota.limiter.service import Limiter
from carbonquota.limiter.trial.templates import read_descriptor
from carbonquota.service.values.masking import masked


@click.command("explain")
@rules_option
@domain_option
@click.option("--tier", default="", help="The tier of the request.")
@click.option("--address", default="", help="The client's address, for lists of networks.")
@click.option("--store", metavar="URL", default="", help="Tell what is left in this store; without it, all is.")
@click.option("--store-name", default="limits", show_default=True, help="The name under which limiters share it.")
@output_options
@click.argument("descriptors", metavar="KEY=VALUE[,KEY=VALUE]...", nargs=-1, required=True)
def command(  # noqa: PLR0913 - click hands every switch over by name
    *,
    paths: tuple[str, ...],
    domain: str,
    tier: str,
    address: str,
    store: str,
    store_name: str,
    descriptors: tuple[str, ...],
    as_json: bool,
    no_color: bool,
) -> None:
    """Tell which rule holds each descriptor of a request, what it grants, and what is left of it.

    A descriptor is one argument, its entries with commas between them: `service=api,user=alice`. With --store, what is
    left is asked of the store that running limiters share; nothing is charged.
    """
    output = Output(as_json=as_json, no_color=no_color)
    rules = read_rules(paths)
    try:
        entries = [read_descriptor(text) for text in descriptors]
    except ValueError as error:
        raise InputError(str(error)) from error
    request = Request(domain_of(rules, domain), tuple(map(Descriptor, entries)), tier=tier, address=address)
    statuses = _peek(rules, request, store, store_name)
    held = rules.domains.get(request.domain)
    matches = [held.match(one) if held else None for one in entries]
    output.document({"descriptors": [_document(text, one) for text, one in zip(descriptors, statuses, strict=True)]})
    table = TextTable([Column("descriptor"), Column("rule", folds=True), Column("limit"), Column("algorithm"),
                   Column("left", numeric=True), Column("why"), Column("place")])  # fmt: skip
    for text, status, match in zip(descriptors, statuses, matches, strict=True):
        rule = match.rule if match and status.rule else None
        grant = next((one for one in rule.grants_of(tier) if one.limit == status.limit), None) if rule else None
        table.add(
            text,
            status.rule or "-",
            shown(status.limit),
            grant.policy.algorithm.name.lower().replace("_", " ") if grant else "-",
            f"{status.remaining:,}" if status.remaining != UNLIMITED else "-",
            status.reason.value + (" (shadow: it refuses nothing)" if rule and rule.shadow else ""),
            rule.place if rule else "-",
            tone=Tone.BAD if status.is_over else Tone.PLAIN,
        )
    output.table(table)


def _peek(rules: DomainRules, request: Request, store: str, name: str) -> tuple[Status, ...]:
    """What is left; InputError where the store does not tell."""
    if not store:
        return Limiter(rules).peek(request).statuses
    from carbonquota.limiter.stores import StoreCounters, StoreSettings  # noqa: PLC0415 - only where it is asked

    try:
        counters = StoreCounters(StoreSettings(store, name, timeout=2.0, slices=False))
    except ValueError as error:
        raise InputError(f"--store {masked(store)}: {error}") from error
    limiter = Limiter(rules, counters=counters)
    statuses = limiter.peek(request).statuses
    if limiter.troubles:
        raise InputError(f"--store {masked(store)}: {limiter.troubles[0]}")
    limiter.close()
    return statuses


def _document(text: str, status: Status) -> Json:
    limit = status.limit
    return {
        "descriptor": text,
        "rule": status.rule or None,
        "limit": None if limit is None else {
            "requests": limit.requests, "unit": limit.unit.value, "multiplier": limit.multiplier, "name": limit.name,
        },
        "left": None if limit is None else status.remaining,
        "passes": not status.is_over,
        "reason": status.reason.value,
    }  # fmt: skip
