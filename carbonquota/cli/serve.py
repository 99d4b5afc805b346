"""`carbonquota serve`: one server of the quota service, in the foreground, as a service manager wants it."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

import click

from carbonquota.cli.missing import advice
from carbonquota.errors import InputError
from carbonquota.service.process_log import start_log
from carbonquota.service.values.address import Address, read_listen
from carbonquota.service.values.value_error import SettingValueError

_LEVELS = ("debug", "info", "warning", "error")


def address(text: str) -> Address:
    """An address to listen at."""
    try:
        return read_listen(text)
    except SettingValueError as error:
        raise click.BadParameter(str(error)) from None


@click.command()
@click.option(
    "--database",
    metavar="URL",
    envvar="CARBONQUOTA_DATABASE",
    help="sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME; CARBONQUOTA_DATABASE gives it, too, and shows no "
    "password to who lists processes.  [default: sqlite:///var/hub.sqlite]",
)
@click.option("--listen", type=address, default="127.0.0.1:8090", show_default=True, help="Where HTTP is answered.")
@click.option("--allowed-host", "allowed_hosts", multiple=True, metavar="NAME",
              help="A name that the service is reached by, beside this machine's own. Repeatable.")  # fmt: skip
@click.option("--freshness", type=click.FloatRange(0.05, 60), default=1.0, show_default=True,
              help="How often to read what other servers changed, in seconds.")  # fmt: skip
@click.option("--log-level", type=click.Choice(_LEVELS), default="info", show_default=True)
@click.pass_context
def command(ctx: click.Context, /, log_level: str, **options: Any) -> None:  # noqa: ANN401 - one type each
    """Run the quota service: customers, their quotas over many stores, what they hold, and whether they may write on.

    Without --database all is kept in the file var/hub.sqlite. Any number of servers may run on one database. The log
    goes to stderr; SIGTERM and Ctrl-C end the service.
    """
    start_log(log_level, sys.stderr, with_time="JOURNAL_STREAM" not in os.environ)
    settings, server = _module("carbonquota.hub.settings"), _module("carbonquota.hub.server")
    options["database"] = options["database"] or settings.DEFAULT_DATABASE
    ctx.exit(server.serve(settings.HubSettings(**options)))


def _module(name: str) -> Any:  # noqa: ANN401 - a module
    """A module of the service, which needs packages that the library alone does not."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("carbonquota"):
            raise
        raise InputError(
            f"the quota service needs the package {error.name}, which is not installed: {advice('hub')}"
        ) from None
