"""The switches that several commands share, so that each means the same everywhere."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import click
from click.core import ParameterSource

Command = TypeVar("Command", bound=Callable[..., Any])

SOURCE_HELP: Final = """
A SOURCE is a file of metric names or of plaintext lines (name value timestamp), one a line, plain or gzip; `-` for
the same on standard input; or a directory tree of Whisper files, which count with their real sizes.
"""
"""What a SOURCE is, for the help of every command that takes one."""

_ROWS: Final = 50
"""Rows that a person wants to see of a table."""

_FILE: Final = click.Path(path_type=str, readable=False)
_SECONDS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_INTERVAL: Final = re.compile(r"(\d+(?:\.\d+)?)(s|m|h|d)?", re.ASCII)


def interval(text: str) -> float:
    """The seconds of an interval of at least one, written as `60`, `90s`, `5m`, `1h` or `1d`."""
    match = _INTERVAL.fullmatch(text)
    seconds = float(match[1]) * _SECONDS[match[2] or ""] if match else 0.0
    if seconds < 1 or math.isinf(seconds):
        raise click.BadParameter(f"{text!r} is not an interval of a second or more, such as 60, 90s, 5m or 1h")
    return seconds


def count(text: str) -> int:
    """A whole number from 0 on."""
    if not (text.isascii() and text.isdigit()):
        raise click.BadParameter(f"{text!r} is not a whole number from 0 on")
    return int(text)


def daemon_url(text: str) -> str:
    """The URL of a live daemon, such as `http://127.0.0.1:8080`."""
    try:
        parts = urlsplit(text)
        good = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        good = False
        parts = None
    if not good or parts is None or parts.username is not None or parts.query or parts.fragment:
        raise click.BadParameter(f"{text!r} is not the URL of a daemon, such as http://127.0.0.1:8080")
    return text


def url_option(command: Command) -> Command:
    """`--url URL`."""
    return click.option("--url", metavar="URL", type=daemon_url,
                        help="Ask a live daemon at this URL, and read no files.")(command)  # fmt: skip


def refuse_with_url(ctx: click.Context, *names: str) -> None:
    """Refuse these parameters where they were given: with --url, the daemon has its own of them."""
    for parameter in ctx.command.params:
        if parameter.name in names and ctx.get_parameter_source(parameter.name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"{parameter.opts[0]} cannot be given with --url: the daemon has its own", ctx)


def require(ctx: click.Context, name: str) -> None:
    """Miss a parameter that is required in this case, as click misses one that always is."""
    if not ctx.params[name]:
        hint = "Or ask a live daemon with --url."
        param = next(one for one in ctx.command.params if one.name == name)
        raise click.MissingParameter(hint, ctx=ctx, param=param)


def sources_argument(command: Command) -> Command:
    """SOURCE..., one or more."""
    return click.argument("sources", metavar="SOURCE...", nargs=-1, required=True, type=_FILE)(command)


def rules_option(command: Command) -> Command:
    """`--rules FILE`, required."""
    return click.option("--rules", "rules_path", metavar="FILE", type=_FILE, required=True,
                        help="The storage-quotas.conf to apply.")(command)  # fmt: skip


def schemas_option(command: Command) -> Command:
    """`--schemas FILE`."""
    return click.option("--schemas", "schemas_path", metavar="FILE", type=_FILE,
                        help="The storage-schemas.conf that says how much a metric holds; without it, 172,800 points.",
                        )(command)  # fmt: skip


def index_option(command: Command) -> Command:
    """`--index SOURCE`, any number of times."""
    return click.option("--index", "index", metavar="SOURCE", type=_FILE, multiple=True,
                        help="What exists already: names, plaintext lines or a Whisper tree. Repeatable.",
                        )(command)  # fmt: skip


def interval_option(command: Command) -> Command:
    """`--interval`, in seconds."""
    return click.option("--interval", type=interval, default="60", show_default=True,
                        help="The quota-usage-report-frequency: seconds, or 90s, 5m, 1h.")(command)  # fmt: skip


def throughput_option(command: Command) -> Command:
    """`--throughput-unit`."""
    return click.option("--throughput-unit", type=click.Choice(["interval", "minute"]), default="interval",
                        show_default=True, help="What a throughput limit is counted by.")(command)  # fmt: skip


def top_option(command: Command) -> Command:
    """`--top N`; what it means by default tells `rows_shown`."""
    return click.option("--top", type=count,
                        help=f"Rows shown of each table, 0 for all.  [default: {_ROWS}; with --json: all]",
                        )(command)  # fmt: skip


def rows_shown(top: int | None, *, as_json: bool) -> int:
    """How many rows to show, 0 for all: a program wants all of them, a person the first."""
    if top is not None:
        return top
    return 0 if as_json else _ROWS


def output_options(command: Command) -> Command:
    """`--json` and `--no-color`."""
    command = click.option("--no-color", is_flag=True, help="No colours, as with NO_COLOR in the environment.")(command)
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")(command)
