"""The top of the command line: the commands by name, `--version`, and how a run ends.

Every end is decided here, in one place: an expected error is one message on stderr and exit 1, Ctrl-C is exit
130 and a closed pipe 141 (what a shell reports for SIGINT and SIGPIPE), both without a word.
"""

from __future__ import annotations

import errno
import importlib
import os
import platform
import signal
import sys
from typing import Any, Final, cast

import click

from carbonquota.errors import QuotaError
from carbonquota.suggest import nearest

EXIT_ERROR: Final = 1
"""Something expected went wrong: bad rules, unreadable input, an expectation not met."""

EXIT_INTERRUPTED: Final = 130
"""Ctrl-C: 128 + SIGINT."""

EXIT_CLOSED_PIPE: Final = 141
"""The reader of the output went away: 128 + SIGPIPE."""

_COMMANDS: Final = {
    "check": ("carbonquota.cli.check", "Check rules files for errors and for rules that do not do what they seem to."),
    "explain": ("carbonquota.cli.explain", "Tell which rules hold a metric and whether it would be accepted."),
    "dry-run": ("carbonquota.cli.dry_run", "Tell what rules would do to metrics, without doing it."),
    "run": ("carbonquota.cli.run", "Run the daemon: quotas on live traffic, stored in Whisper files or relayed."),
    "serve": ("carbonquota.cli.serve", "Run the quota service: what customers of a fleet may hold, and hold."),
    "limit": ("carbonquota.cli.limit", "Run the rate limiter that API gateways ask: Envoy, nginx, Traefik, Caddy."),
    "limits": ("carbonquota.cli.limits", "Check, explain and try rules of the rate limiter."),
    "init": ("carbonquota.cli.init", "Write a configuration and a systemd unit to start from."),
    "cluster-key": (
        "carbonquota.cli.cluster_key",
        "Make the secret key of a cluster of nodes.",
    ),
    "rules": ("carbonquota.cli.rules", "Send rules to the quota service, and release them to its daemons."),
    "token": ("carbonquota.cli.token", "Make, list and take back tokens for HTTP."),
    "completion": ("carbonquota.cli.completion", "Print the completion for bash, zsh or fish."),
    "usage": ("carbonquota.cli.usage", "Show what namespaces hold, as a tree; needs no rules."),
}
"""By name: the module that has the command as `command`, and what `--help` says of it in a line."""

_MEANT: Final = {
    **dict.fromkeys(("help", "man"), "--help"),
    "version": "--version",
    **dict.fromkeys(("lint", "validate", "verify", "test"), "check"),
    **dict.fromkeys(("start", "daemon", "server", "relay"), "run"),
    **dict.fromkeys(("hub", "quota-service"), "serve"),
    **dict.fromkeys(("ratelimit", "rate-limit", "limiter"), "limit"),
    **dict.fromkeys(("why", "match"), "explain"),
    **dict.fromkeys(("simulate", "try", "diff"), "dry-run"),
    **dict.fromkeys(("list", "tree", "top", "status", "stats"), "usage"),
    **dict.fromkeys(("install", "setup", "config"), "init"),
}
"""What other programs call things, and what they are called here."""


class CommandLine(click.Group):
    """A group of commands that are imported when used, and whose ends are quiet."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click passes it
        """The names of the commands, in the order a newcomer needs them."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, imported now; None where there is none."""
        if cmd_name not in _COMMANDS:
            near = _MEANT.get(cmd_name) or nearest(cmd_name, _COMMANDS)
            if near:
                ctx.fail(f"no such command '{cmd_name}': did you mean '{near}'?")
            return None
        return cast("click.Command", importlib.import_module(_COMMANDS[cmd_name][0]).command)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click passes it
        """List the commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in _COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> None:
        """Run the command and write out all it printed, turning every expected end into an exit code."""
        try:
            super().invoke(ctx)
            sys.stdout.flush()
        except QuotaError as error:
            click.echo(f"carbonquota: {error}", err=True)
            ctx.exit(EXIT_ERROR)
        except KeyboardInterrupt:
            # A second Ctrl-C while Python winds down would print a traceback.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            ctx.exit(EXIT_INTERRUPTED)
        except OSError as error:
            ctx.exit(_end_of_output(error))

    def main(self, *args: Any, **extra: Any) -> Any:  # noqa: ANN401 - as click has it
        """Run it all; what `invoke` does for commands is done here for the help, which click prints before that."""
        try:
            return super().main(*args, **extra)
        except QuotaError as error:
            click.echo(f"carbonquota: {error}", err=True)
            sys.exit(EXIT_ERROR)
        except OSError as error:
            sys.exit(_end_of_output(error))


def _end_of_output(error: OSError) -> int:
    """The exit code where stdout takes no more, after telling why unless its reader just went away."""
    _let_go_of_stdout()
    if error.errno == errno.EPIPE:
        return EXIT_CLOSED_PIPE
    click.echo(f"carbonquota: cannot write the output: {(error.strerror or str(error)).lower()}", err=True)
    return EXIT_ERROR


def _let_go_of_stdout() -> None:
    """Point stdout to nowhere, so that Python does not fail again when it flushes the rest at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _print_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:  # noqa: FBT001 - click's own order
    """Print the version of the program, its kernel and its Python, and leave."""
    if not wanted or ctx.resilient_parsing:
        return
    # Imported when needed, so that `--help` answers at once, and where the environment names a wrong one is caught.
    kernel = importlib.import_module("carbonquota.kernel").KERNEL
    click.echo(f"carbonquota {_own_version()} (kernel {kernel}, Python {platform.python_version()})")
    ctx.exit()


def _own_version() -> str:
    """The version that is installed."""
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415 - only --version waits for it

    try:
        return version("carbonquota")
    except PackageNotFoundError:
        return "(not installed)"


@click.group(cls=CommandLine, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version, the kernel in use and the Python, and exit.",
)
def command_line() -> None:
    """Quotas on namespaces of Graphite metrics, as storage-quotas.conf states them."""
