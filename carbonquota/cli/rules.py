"""`carbonquota rules`: the rules of a fleet, from files that may lie in git, to the daemons of the quota service."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import click

from carbonquota.cli.options import daemon_url, output_options
from carbonquota.cli.output import Column, Output, TextTable, number, plural
from carbonquota.cli.remote import TOKEN_VARIABLE
from carbonquota.client.json_service import ServiceAwayError, ServiceRefusedError
from carbonquota.client.rules import Document, RulesClient
from carbonquota.errors import ConfigError, InputError, Problem
from carbonquota.rules import RuleSet, diff
from carbonquota.rules.files import read_text

Command = TypeVar("Command", bound=Callable[..., Any])

_FILE: Final = click.Path(path_type=str, readable=False)
_URL_VARIABLE: Final = "CARBONQUOTA_HUB"
_KIND: Final = "carbonquota.rules.kind"


def _note_kind(ctx: click.Context, _: click.Parameter, limits: bool) -> None:  # noqa: FBT001 - as click passes it
    """Note which rules are meant, for `_ask`."""
    if limits and ctx.command.name in {"diff", "trial"}:
        raise click.UsageError("of limits there is only: push, release, approve, rollback and list", ctx)
    ctx.meta[_KIND] = "limits" if limits else "rules"


def _service_options(command: Command) -> Command:
    """`--url` and `--limits`."""
    command = click.option(
        "--limits", is_flag=True, expose_value=False, callback=_note_kind,
        help="Limits of rate limiters, in the place of quotas of daemons.",
    )(command)  # fmt: skip
    return click.option(
        "--url", type=daemon_url, envvar=_URL_VARIABLE, metavar="URL", required=True,
        help=f"The quota service; {_URL_VARIABLE} gives it, too. The token comes from {TOKEN_VARIABLE}.",
    )(command)  # fmt: skip


def _group_option(command: Command) -> Command:
    """`--group`."""
    return click.option("--group", metavar="GROUP", default="", help="The daemons of this group.  [default: all]")(
        command
    )


def _why_option(command: Command) -> Command:
    """`--why`."""
    return click.option("--why", metavar="TEXT", default="", help="For the audit.")(command)


@click.group()
def command() -> None:
    """Send rules to the quota service, and have its daemons put them in force.

    `push` sends a file as a new version, `trial` and `diff` compare it with what is in force, `release` puts a version
    in force as a shadow, which counts and drops nothing, or enforced, and `rollback` puts back what was before.
    """


@command.command()
@click.argument("file", type=_FILE)
@_service_options
@_why_option
def push(file: str, url: str, why: str) -> None:
    """Send FILE as a new version; nothing is in force by that.

    The service checks it as `carbonquota check` does. A file that is the newest version already stays that version.
    """
    text = read_text(file)
    version = _ask(url, lambda rules: rules.push(text, why), file)
    click.echo(f"version {version['number']}, {version['checksum'][:12]}, by {version['actor']}")


@command.command("diff")
@click.argument("file", type=_FILE)
@_service_options
@_group_option
def diff_command(file: str, url: str, group: str) -> None:
    """Tell what differs between FILE and the rules in force."""
    ours = RuleSet.from_text(read_text(file), file)
    found = _in_force(url, group)
    theirs = RuleSet.from_text(found["text"] if found else "", "in force")
    difference = diff(theirs, ours)
    name = f"version {found['number']}" if found else "nothing"
    click.echo(f"in force: {name}")
    click.echo(str(difference) if difference else "no difference")


@command.command()
@click.argument("file", type=_FILE)
@_service_options
@_group_option
@output_options
def trial(file: str, url: str, group: str, as_json: bool, no_color: bool) -> None:  # noqa: FBT001 - as click passes them
    """Tell who would be over by FILE, and who throttled, by what the fleet uses now; nothing is kept."""
    text = read_text(file)
    found = _ask(url, lambda rules: rules.trial(text, group), file)
    output = Output(as_json=as_json, no_color=no_color)
    output.document(found)
    table = TextTable((
        Column("daemon", folds=True), Column("namespace", folds=True), Column("control"),
        *(Column(name, numeric=True) for name in ("usage", "before", "after")),
    ))  # fmt: skip
    for one in found["standings"]:
        table.add(
            one["daemon"], one["namespace"], one["control"], number(one["usage"]), _limit(one["before"]),
            _limit(one["after"]),
        )  # fmt: skip
    if table.rows:
        output.table(table)
    output.line(
        f"{plural(found['namespaces'], 'namespace')}: {plural(found['over'], 'limit')} would be passed "
        f"({found['newly_over']:,} of that new), {plural(found['throttled'], 'namespace')} throttled "
        f"({found['newly_throttled']:,} of that new); {found['relieved']:,} would be over no more."
    )


@command.command()
@click.argument("version", type=click.IntRange(min=1))
@_service_options
@click.option("--shadow", "mode", flag_value="shadow", help="Count, and drop nothing, whatever was enforced before.")
@click.option("--enforce", "mode", flag_value="enforced", help="Drop what is over.")
@_group_option
@_why_option
def release(version: int, url: str, mode: str | None, group: str, why: str) -> None:
    """Put VERSION in force."""
    if mode is None:
        raise click.UsageError("say --shadow, which drops nothing, or --enforce")
    made = _ask(url, lambda rules: rules.release(version, mode, group, why))
    click.echo(_told(made))


@command.command()
@click.argument("number", metavar="RELEASE", type=click.IntRange(min=1))
@_service_options
@_why_option
def approve(number: int, url: str, why: str) -> None:
    """Approve of a RELEASE that another administrator asked for."""
    click.echo(_told(_ask(url, lambda rules: rules.approve(number, why))))


@command.command()
@_service_options
@_group_option
@_why_option
def rollback(url: str, group: str, why: str) -> None:
    """Put in force what was before."""
    click.echo(_told(_ask(url, lambda rules: rules.rollback(group, why))))


@command.command("list")
@_service_options
@output_options
def list_all(url: str, as_json: bool, no_color: bool) -> None:  # noqa: FBT001 - as click passes them
    """List releases, the newest first, and which of them each daemon runs."""
    output = Output(as_json=as_json, no_color=no_color)
    releases, daemons = _ask(url, lambda rules: (rules.releases(), rules.daemons()))
    output.document({"releases": releases, "daemons": daemons})
    table = TextTable(tuple(map(Column, ("release", "version", "mode", "group", "when", "by", "why"))))
    for one in releases:
        by = one["actor"] if one["approved"] else f"{one['actor']}, waits for approval"
        table.add(
            str(one["number"]), str(one["version"]), one["mode"], one["group"] or "all", _time(one["time"]), by,
            one["why"],
        )  # fmt: skip
    output.table(table)
    output.line()
    table = TextTable(tuple(map(Column, ("daemon", "group", "runs", "seen", "trouble"))))
    for one in daemons:
        runs = str(one["running"] or "none")
        table.add(one["name"], one["group"] or "-", runs, _time(one["seen"]), one["trouble"] or "-")
    output.table(table)


def _in_force(url: str, group: str) -> Document | None:
    """The version in force for a group."""

    def find(rules: RulesClient) -> Document | None:
        for one in rules.releases():
            if one["approved"] and one["group"] in {"", group}:
                return rules.version(one["version"])
        return None

    return _ask(url, find)


Answer = TypeVar("Answer")


def _ask(url: str, ask: Callable[[RulesClient], Answer], source: str = "") -> Answer:
    """What the service answers; errors are told as those of files, InputError otherwise."""
    try:
        kind = click.get_current_context().meta[_KIND]
        return ask(RulesClient(url, os.environ.get(TOKEN_VARIABLE, "").strip(), kind))
    except ServiceRefusedError as error:
        if error.errors and source:
            raise ConfigError([_problem(one, source) for one in error.errors]) from None
        hint = f" (commands take it from {TOKEN_VARIABLE})" if error.status == 401 else ""
        raise InputError(f"{url}: {error}{hint}") from None
    except ServiceAwayError as error:
        raise InputError(f"{url}: {error}") from None


def _problem(place: dict[str, Any], source: str) -> Problem:
    """A problem as the service told it, with the file's own name."""
    text, _, caret = place["excerpt"].partition("\n")
    return Problem(
        source, place["line"], place["column"], caret.count("^"), text[4:], place["message"], place["suggestion"]
    )


def _told(made: Document) -> str:
    where = f"the group {made['group']}" if made["group"] else "all daemons"
    waits = "" if made["approved"] else ", once another administrator approves of it"
    return f"release {made['number']}: version {made['version']}, {made['mode']}, for {where}{waits}"


def _limit(limit: int | None) -> str:
    return "-" if limit is None else number(limit)


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
