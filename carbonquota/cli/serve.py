"""`carbonquota serve`: one server of the quota service, in the foreground, as a service manager wants it."""

from __future__ import annotations

import logging
import os
import sys
from functools import partial
from importlib import import_module
from typing import Any

import click

from carbonquota.cli.missing import part
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


_part = partial(part, what="the quota service", extra="hub")


@click.command()
@click.option(
    "--database",
    metavar="URL",
    envvar="CARBONQUOTA_DATABASE",
    help="sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME; CARBONQUOTA_DATABASE gives it, too, and shows no "
    "password to who lists processes.  [default: sqlite:///var/hub.sqlite]",
)
@click.option("--listen", type=address, default="127.0.0.1:8090", show_default=True, help="Where HTTP is answered.")
@click.option("--grpc-listen", type=address, default="127.0.0.1:8091", show_default=True, help="The same for gRPC.")
@click.option("--allowed-host", "allowed_hosts", multiple=True, metavar="NAME",
              help="A name that the service is reached by, beside this machine's own. Repeatable.")  # fmt: skip
@click.option("--freshness", type=click.FloatRange(0.05, 60), default=1.0, show_default=True,
              help="How often to read what other servers changed, in seconds.")  # fmt: skip
@click.option("--max-grant", type=click.IntRange(min=1), default=10 * 1024 * 1024, show_default=True, metavar="SIZE",
              help="A larger write is granted in slices of this; the client asks again as it goes.")  # fmt: skip
@click.option("--customers-in-memory", "most_held", type=click.IntRange(min=1), default=2_000_000, show_default=True,
              metavar="COUNT",
              help="Of more, those asked for least recently are read again when they are asked for.")  # fmt: skip
@click.option("--store", metavar="URL", envvar="CARBONQUOTA_STORE", default="",
              help="valkey://HOST:PORT, sentinel://... or cluster://...: servers reserve parts of quotas there, not in "
              "the database. CARBONQUOTA_STORE gives it, too.")  # fmt: skip
@click.option("--store-password-file", type=click.Path(path_type=str), default="", metavar="FILE",
              help="Its password, where the URL has none.")  # fmt: skip
@click.option("--store-name", default="hub", show_default=True, metavar="NAME",
              help="Tells several quota services on one store apart.")  # fmt: skip
@click.option("--tokens-file", type=click.Path(path_type=str), default="", metavar="FILE",
              help="Tokens as `carbonquota token` writes them, beside those that the service keeps.")  # fmt: skip
@click.option("--jwt-keys", default="", metavar="FILE|URL", help="Key set (JWKS): its JWTs are taken, too.")
@click.option("--jwt-issuer", default="", metavar="ISSUER", help="Whose they are.")
@click.option("--jwt-audience", default="", metavar="AUDIENCE", help="Whom they are for.")
@click.option("--tls-certificate", type=click.Path(path_type=str), default="", metavar="FILE", help="HTTP is HTTPS.")
@click.option("--tls-key", type=click.Path(path_type=str), default="", metavar="FILE", help="Its key.")
@click.option("--secret-file", type=click.Path(path_type=str), default="var/hub-secret", show_default=True,
              metavar="FILE",
              help="What sessions of browsers are signed by; made if missing, the same for all servers.")  # fmt: skip
@click.option("--open", "open_to_all", is_flag=True, help="Listen for others although nobody needs a token.")
@click.option("--second-approver", is_flag=True,
              help="Rules are in force once another administrator has approved of their release.")  # fmt: skip
@click.option("--scrape-token-file", type=click.Path(path_type=str), default="", metavar="FILE",
              help="A token that pages of providers are asked for with.")  # fmt: skip
@click.option("--forget-daemons", type=click.FloatRange(0.1, 100_000), default=24.0, show_default=True, metavar="HOURS",
              help="A daemon that has not asked for rules for so long is gone from the list.")  # fmt: skip
@click.option("--log-level", type=click.Choice(_LEVELS), default="info", show_default=True)
@click.pass_context
def command(ctx: click.Context, /, log_level: str, **options: Any) -> None:  # noqa: ANN401 - one type each
    """Run the quota service: customers, their quotas over many stores, what they hold, and whether they may write on.

    Without --database all is kept in the file var/hub.sqlite. Any number of servers may run on one database. The log
    goes to stderr; SIGTERM and Ctrl-C end the service.
    """
    start_log(log_level, sys.stderr, with_time="JOURNAL_STREAM" not in os.environ)
    # It tells of each of its own parts, from its import on.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    settings, server = (
        _part("carbonquota.hub.settings"),
        _part("carbonquota.hub.server"),
    )
    options["database"] = options["database"] or settings.DEFAULT_DATABASE
    options["access"] = _access(ctx, options)
    ctx.exit(server.serve(settings.HubSettings(**options), **_checks()))


def _checks() -> dict[str, Any]:
    """What checks limits that are sent, where the rate limiter is installed."""
    try:
        releases = import_module("carbonquota.limiter.rules.releases")
    except ImportError:
        return {}
    return {"check_limits": releases.checked_limits}


_ACCESS = ("tokens_file", "jwt_keys", "jwt_issuer", "jwt_audience", "tls_certificate", "tls_key")


def _access(ctx: click.Context, options: dict[str, Any]) -> Any:  # noqa: ANN401 - of a module that is imported now
    """Who may ask, taken out of the options."""
    given = {name: options.pop(name) for name in _ACCESS}
    for names in (("jwt_keys", "jwt_issuer", "jwt_audience"), ("tls_certificate", "tls_key")):
        if any(given[name] for name in names) and not all(given[name] for name in names):
            flags = ", ".join(f"--{name.replace('_', '-')}" for name in names)
            raise click.UsageError(f"{flags} go together: give all of them, or none", ctx)
    return _part("carbonquota.web.access_settings").AccessSettings(reading="nowhere", **given)
