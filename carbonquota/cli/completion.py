"""`carbonquota completion`: what a shell needs to complete our commands and their options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

_NAME = "carbonquota"
_VARIABLE = "_CARBONQUOTA_COMPLETE"


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the completion for SHELL.

    For bash it belongs into ~/.local/share/bash-completion/completions/carbonquota, for zsh into a file _carbonquota of
    a directory in fpath, for fish into ~/.config/fish/completions/carbonquota.fish.
    """
    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101 - click has these three
    root = ctx.find_root().command
    # Not `source`, which asks the bash of this machine for its version: the file may be for another.
    completion = kind(root, {}, _NAME, _VARIABLE)
    click.echo(completion.source_template % completion.source_vars())
