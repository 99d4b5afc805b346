"""`carbonquota run`: the daemon, in the foreground, as a service manager wants it."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from carbonquota.cli.missing import part
from carbonquota.daemon.configuration import Diagnostics, format_settings, load_settings
from carbonquota.service.process_log import start_log

_LEVELS = ("debug", "info", "warning", "error")


@click.command()
@click.option("-c", "--config", metavar="FILE", type=click.Path(path_type=str, readable=False), help="[required]")
@click.option("--print-config", is_flag=True, help="Print the settings in force, with all defaults, and leave.")
@click.option("--log-level", type=click.Choice(_LEVELS), default="info", show_default=True)
@click.pass_context
def command(ctx: click.Context, *, config: str | None, print_config: bool, log_level: str) -> None:
    """Take Graphite traffic, keep quotas on it, and store it in Whisper files or relay it.

    FILE is a carbonquota.conf, or a go-carbon.conf as it is. The log goes to stderr. SIGHUP reads the rules anew,
    SIGTERM and Ctrl-C end the daemon once all it has taken is safe; a second one ends it at once.
    """
    if config is None:
        param = next(one for one in ctx.command.params if one.name == "config")
        raise click.MissingParameter("`carbonquota init DIRECTORY` writes one to start from.", ctx=ctx, param=param)
    settings, diagnostics = load_settings(config)
    if print_config:
        click.echo(format_settings(settings), nl=False)
        return
    # The journal of systemd puts its own times.
    start_log(log_level, sys.stderr, with_time="JOURNAL_STREAM" not in os.environ)
    _tell(diagnostics)
    daemon = part("carbonquota.daemon.daemon", "the daemon", "daemon")
    ctx.exit(daemon.run(settings, progress=_progress if sys.stderr.isatty() else None))


def _tell(diagnostics: Diagnostics) -> None:
    """Log what of the configuration was passed over."""
    for warning in diagnostics.warnings:
        logging.getLogger(__name__).warning("%s", warning)
    for note in diagnostics.lines():
        logging.getLogger(__name__).info("%s", note)


@contextmanager
def _progress(title: str) -> Iterator[Callable[[int], None]]:
    """A bar on stderr for as long as the block runs, wiped away then; what it gives is told of each step."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:,}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(title, total=None)
        yield lambda steps: progress.advance(task, steps)
