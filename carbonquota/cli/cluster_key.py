"""`carbonquota cluster-key`: a new secret key for the nodes of a cluster."""

from __future__ import annotations

import click

from carbonquota.errors import InputError


@click.command()
def command() -> None:
    """Print a new secret key.

    Every node of a cluster gets the same one, in a file that only its user can read.
    """
    try:
        import zmq  # noqa: PLC0415 - only this command needs it
    except ModuleNotFoundError:
        raise InputError("this needs the package pyzmq: install carbonquota with its extra cluster") from None
    click.echo(zmq.curve_keypair()[1].decode())
