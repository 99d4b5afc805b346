"""`carbonquota token`: makes, lists and takes back tokens in a file that a daemon or a quota service reads."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from math import inf, isinf
from typing import Final

import click

from carbonquota.cli.options import output_options
from carbonquota.cli.output import Column, Output, TextTable
from carbonquota.errors import InputError

_LIFETIME: Final = re.compile(r"(\d{1,6})([dhwy])", re.ASCII)
_SECONDS: Final = {"h": 3600.0, "d": 86_400.0, "w": 7 * 86_400.0, "y": 365 * 86_400.0}
_COLUMNS: Final = ("id", "role", "of", "expires", "name")
_ROLES: Final = ("customer", "provider", "operator", "admin")

file_option = click.option(
    "--file", "path", metavar="FILE", type=click.Path(path_type=str, dir_okay=False), required=True,
    help="The tokens-file of [access].")  # fmt: skip


@click.group()
def command() -> None:
    """Make, list and take back tokens.

    A token is shown once, when it is made; the file has its hash. Programs send it as `Authorization: Bearer TOKEN`,
    and our own commands take it from the environment variable CARBONQUOTA_TOKEN.
    """


def lifetime(text: str) -> float:
    """Seconds of a lifetime such as `90d`, `12h`, `8w` or `1y`; without an end for `never`."""
    match = _LIFETIME.fullmatch(text)
    if text != "never" and (match is None or not int(match[1])):
        raise click.BadParameter(f"{text!r} is not a lifetime such as 12h, 90d, 8w, 1y or never")
    return int(match[1]) * _SECONDS[match[2]] if match else inf


@command.command()
@file_option
@click.option("--name", metavar="NAME", required=True, help="What it is for, as lists and logs tell it.")
@click.option("--role", type=click.Choice(_ROLES), required=True,
              help="customer and provider: their own numbers; operator: reads all; admin: does all.")  # fmt: skip
@click.option("--of", "subject", metavar="NAME", default="", help="Which customer, or which provider.")
@click.option("--expires", type=lifetime, default="365d", show_default=True, metavar="LIFETIME",
              help="12h, 90d, 8w, 1y or never; it is good until the end of the day, in UTC.")  # fmt: skip
def new(path: str, name: str, role: str, subject: str, expires: float) -> None:
    """Make a token, and print it."""
    # Imported when needed, so that the other commands go without the packages that HTTP needs.
    tokens = _tokens()
    if not name.isprintable() or not name.strip() or any(character.isspace() for character in subject):
        raise InputError("a name is one line of text, and that of a customer or provider has no blanks")
    text, record = tokens.mint(name.strip(), tokens.Role(role), subject, now=time.time(), lifetime=expires)
    tokens.append_token(path, record)
    click.echo(text)


@command.command("list")
@file_option
@output_options
def list_tokens(path: str, as_json: bool, no_color: bool) -> None:  # noqa: FBT001 - as click passes them
    """List the tokens of a file, without what is secret."""
    output = Output(as_json=as_json, no_color=no_color)
    table = TextTable(tuple(map(Column, _COLUMNS)))
    for one in _tokens().read_token_file(path).values():
        table.add(one.id, one.role.value, one.subject or "-", _until(one.expires), one.name)
    output.table(table)
    output.document({"tokens": [dict(zip(_COLUMNS, row.cells, strict=True)) for row in table.rows]})


@command.command()
@file_option
@click.argument("number", metavar="ID")
def revoke(path: str, number: str) -> None:
    """Take the token ID back: whoever reads the file refuses it a moment later."""
    if not _tokens().remove_token(path, number):
        raise InputError(f"{path}: there is no token {number}: `carbonquota token list` has their ids")


def _until(expires: float) -> str:
    if isinf(expires):
        return "never"
    if expires <= time.time():
        return "expired"
    return datetime.fromtimestamp(expires - 1, UTC).strftime("%Y-%m-%d")


def _tokens() -> _Tokens:
    """What there is to do with tokens; InputError where the packages that HTTP needs are not installed."""
    try:
        return _Tokens()
    except ModuleNotFoundError as error:
        raise InputError(f"this needs the package {error.name}: install carbonquota with its extra daemon") from None


class _Tokens:
    """The functions, imported now."""

    def __init__(self) -> None:
        from carbonquota.web.access import Role  # noqa: PLC0415 - see above
        from carbonquota.web.token_file import append_token, read_token_file, remove_token  # noqa: PLC0415
        from carbonquota.web.tokens import mint  # noqa: PLC0415

        self.Role, self.mint = Role, mint
        self.append_token, self.read_token_file, self.remove_token = append_token, read_token_file, remove_token
