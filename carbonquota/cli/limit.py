"""`carbonquota limit`: the rate limiter, in the foreground, as a service manager wants it."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from typing import Any

import click

from carbonquota.cli.missing import part
from carbonquota.cli.serve import address
from carbonquota.cluster.store_url import check_store_url
from carbonquota.limiter.identity.address import read_networks
from carbonquota.service.process_log import start_log
from carbonquota.service.values.address import Address
from carbonquota.service.values.masking import masked

_LEVELS = ("debug", "info", "warning", "error")


def _store(text: str) -> str:
    """The URL of a store."""
    try:
        check_store_url(text)
    except ValueError as error:
        raise click.BadParameter(f"{masked(text)}: {error}") from None
    return text


def _network(text: str) -> str:
    """A network, or an address."""
    try:
        read_networks([text])
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    return text


@click.command()
@click.argument("rules", nargs=-1, metavar="[RULES]...")
@click.option("-c", "--config", metavar="FILE", help="A TOML file with all settings; --print-config writes one.")
@click.option("--grpc", type=address, metavar="HOST:PORT", help="Where Envoy asks.  [default: 127.0.0.1:8081]")
@click.option("--http", type=address, metavar="HOST:PORT", help="Where gateways ask.  [default: 127.0.0.1:8080]")
@click.option("--admin", type=address, metavar="HOST:PORT", help="Health and metrics.  [default: 127.0.0.1:6070]")
@click.option("--store", type=_store, metavar="URL", envvar="CARBONQUOTA_STORE",
              help="A Valkey that several limiters count in; without it, each counts by itself.")  # fmt: skip
@click.option("--trusted-proxy", "trusted_proxies", type=_network, multiple=True, metavar="NETWORK",
              help="Whose word is taken for clients' addresses. Repeatable.")  # fmt: skip
@click.option("--print-config", is_flag=True, help="Print the settings in force, with all defaults, and leave.")
@click.option("--log-level", type=click.Choice(_LEVELS), default="info", show_default=True)
@click.pass_context
def command(
    ctx: click.Context,
    /,
    *,
    rules: tuple[str, ...],
    config: str | None,
    print_config: bool,
    log_level: str,
    **options: Any,  # noqa: ANN401 - one type each
) -> None:
    """Limit the rate of requests: Envoy asks over gRPC; nginx, Traefik, Caddy and programs ask over HTTP.

    RULES are files and directories in the form of envoyproxy/ratelimit; they and the switches go before what FILE says.
    The log goes to stderr. SIGHUP reads the rules anew, SIGTERM and Ctrl-C end the limiter once what was asked is
    answered; a second one ends it at once.
    """
    load = part("carbonquota.limiter.process.load", "the limiter", "limiter")
    settings = load.load_settings(config) if config else load.read_settings("", "")
    settings = _overridden(settings, rules, options)
    if print_config:
        click.echo(load.format_settings(settings), nl=False)
        return
    start_log(log_level, sys.stderr, with_time="JOURNAL_STREAM" not in os.environ)
    ctx.exit(part("carbonquota.limiter.process.process", "the limiter", "limiter").run(settings))


def _overridden(settings: Any, rules: tuple[str, ...], options: dict[str, Any]) -> Any:  # noqa: ANN401 - its own class
    """The settings with what the command line says."""
    changes: dict[str, Any] = {}
    if rules:
        changes["limiter"] = replace(settings.limiter, rules=tuple(os.path.abspath(one) for one in rules))  # noqa: PTH100
    for face in ("grpc", "http", "admin"):
        listen: Address | None = options[face]
        if listen is not None:
            changes[face] = replace(getattr(settings, face), listen=listen)
    if options["store"]:
        changes["store"] = replace(settings.store, url=options["store"])
    if options["trusted_proxies"]:
        changes["identity"] = replace(settings.identity, trusted_proxies=options["trusted_proxies"])
    return replace(settings, **changes)
