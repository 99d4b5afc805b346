"""`carbonquota limits dry-run`: who would have been limited, by rules tried on access logs."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from carbonquota.cli.limits.options import domain_of, domain_option, read_rules, rules_option
from carbonquota.cli.options import output_options, rows_shown, top_option
from carbonquota.cli.output import Column, Output, TextTable, Tone, plural
from carbonquota.cli.sources import Source
from carbonquota.errors import InputError
from carbonquota.limiter.trial import LogReader, Templates, Trial

EXIT_LIMITED = 2
"""With --fail-on-limit: something would have been limited."""


@click.command("dry-run")
@rules_option
@domain_option
@click.option("--descriptor", "descriptors", metavar="KEY={FIELD}[,...]", multiple=True,
              help="What a request is known by; repeatable.  [default: remote_address={address}]")  # fmt: skip
@click.option("--tier", metavar="{FIELD}", default="", help="The tier of a request.")
@click.option("--hits", metavar="{FIELD}", default="", help="What a request counts.  [default: 1]")
@click.option("--fail-on-limit", is_flag=True, help="Exit with 2 if anything would have been limited.")
@top_option
@output_options
@click.argument("logs", metavar="LOG...", nargs=-1, required=True, type=click.Path(path_type=str, readable=False))
@click.pass_context
def command(  # noqa: PLR0913 - click hands every switch over by name
    ctx: click.Context,
    *,
    paths: tuple[str, ...],
    domain: str,
    descriptors: tuple[str, ...],
    tier: str,
    hits: str,
    fail_on_limit: bool,
    top: int | None,
    logs: tuple[str, ...],
    as_json: bool,
    no_color: bool,
) -> None:
    """Try rules on access logs, by the times that these tell: who would have been limited, and by which rule.

    A LOG is a file in the Common or Combined format or of JSON lines, plain or gzip, or `-` for standard input. A
    FIELD is one of address, user, method, path, query, host, status, bytes, referer and agent, or a key of the JSON.
    Requests in flight are not tried, as logs do not tell when requests ended. Exit 0; 2 with --fail-on-limit.
    """
    output = Output(as_json=as_json, no_color=no_color)
    rules = read_rules(paths)
    try:
        templates = Templates.of(domain_of(rules, domain), descriptors, tier, hits)
    except ValueError as error:
        raise InputError(f"--descriptor: {error}") from error
    trial, reader = Trial(rules, templates), LogReader()
    for path in logs:
        _read(Source(path), reader, trial)
    if reader.unreadable:
        told = f"{plural(reader.unreadable, 'line')} in none of the formats, such as: {reader.sample}"
        if not trial.requests:
            raise InputError(told)
        output.note(told)
    _show(trial, output, rows_shown(top, as_json=as_json))
    if fail_on_limit and trial.limited:
        ctx.exit(EXIT_LIMITED)


def _read(source: Source, reader: LogReader, trial: Trial) -> None:
    for piece in source.pieces():
        for line in reader.feed(piece):
            trial.take(line)
    for line in reader.close():
        trial.take(line)


def _show(trial: Trial, output: Output, rows: int) -> None:
    """Print the rules, then the clients that would have been limited."""
    by_rule = sorted(trial.rules.items(), key=lambda item: (-item[1].limited - item[1].shadow, item[0]))
    by_client = trial.clients.most_common()
    output.document({
        "requests": trial.requests,
        "limited": trial.limited,
        "clients": len(trial.seen),
        "without_rule": trial.unmatched,
        "rules": [
            {"rule": name, "requests": one.requests, "limited": one.limited, "shadow": one.shadow,
             "clients": len(one.clients), "first": one.first, "such_as": one.sample or None}
            for name, one in by_rule
        ],
        "limited_clients": [{"client": client, "limited": count} for client, count in by_client],
    })  # fmt: skip
    table = TextTable([Column("rule", folds=True), Column("requests", numeric=True), Column("limited", numeric=True),
                   Column("shadow", numeric=True), Column("clients", numeric=True), Column("first"),
                   Column("such as", folds=True)])  # fmt: skip
    for name, one in by_rule[: rows or None]:
        table.add(
            name, f"{one.requests:,}", f"{one.limited:,}", f"{one.shadow:,}", f"{len(one.clients):,}",
            _moment(one.first), one.sample or "-", tone=Tone.BAD if one.limited else Tone.PLAIN,
        )  # fmt: skip
    if table.rows:
        output.table(table)
        output.line()
    clients = TextTable([Column("client", folds=True), Column("limited", numeric=True)])
    for client, count in by_client[: rows or None]:
        clients.add(client, f"{count:,}")
    if clients.rows:
        output.table(clients)
        output.line()
    without = f", {trial.unmatched:,} without a rule" if trial.unmatched else ""
    output.line(
        f"{plural(trial.requests, 'request')} of {plural(len(trial.seen), 'client')}{without}: "
        f"{trial.limited:,} would have been limited."
    )


def _moment(time: float | None) -> str:
    return "-" if time is None else datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d %H:%M:%S")
