"""Man pages of all commands, written from what their `--help` says: `make man` puts them into build/man."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

import click

from carbonquota.cli import command_line


def pages() -> Iterator[tuple[str, str]]:
    """The name and the text of each page, sub-commands among them."""
    yield from _pages(click.Context(command_line, info_name="carbonquota"))


def _pages(ctx: click.Context) -> Iterator[tuple[str, str]]:
    """The page of a command, and those of the commands below it."""
    yield ctx.command_path.replace(" ", "-"), _page(ctx)
    if isinstance(ctx.command, click.Group):
        for name in ctx.command.list_commands(ctx):
            command = ctx.command.get_command(ctx, name)
            if command is not None:
                yield from _pages(click.Context(command, info_name=name, parent=ctx))


def _page(ctx: click.Context) -> str:
    """One page in roff."""
    command, name = ctx.command, ctx.command_path.replace(" ", "-")
    short = command.get_short_help_str(200)
    lines = [f'.TH "{name.upper()}" "1" "" "carbonquota" "carbonquota"', ".SH NAME", rf"{name} \- {_text(short)}"]
    lines += [".SH SYNOPSIS", rf"\fB{_text(ctx.command_path)}\fR {_text(' '.join(command.collect_usage_pieces(ctx)))}"]
    lines += [".SH DESCRIPTION", *_paragraphs(command.help or short)]
    records = [found for one in command.get_params(ctx) if (found := one.get_help_record(ctx)) is not None]
    if records:
        lines.append(".SH OPTIONS")
        for options, help_text in records:
            lines += [".TP", rf"\fB{_text(options)}\fR", _text(help_text)]
    if isinstance(command, click.Group):
        lines.append(".SH COMMANDS")
        for sub in command.list_commands(ctx):
            below = command.get_command(ctx, sub)
            summary = below.get_short_help_str(200) if below is not None else ""
            lines += [".TP", rf"\fB{_text(f'{name}-{sub}')}\fR(1)", _text(summary)]
    lines += [*([".SH NOTES", *_paragraphs(command.epilog)] if command.epilog else [])]
    return "\n".join(lines) + "\n"


def _paragraphs(text: str) -> Iterator[str]:
    """The paragraphs of a docstring."""
    for paragraph in re.split(r"\n\s*\n", text.replace("\b", "").strip()):
        yield ".PP"
        yield _text(" ".join(paragraph.split()))


def _text(text: str) -> str:
    """A text as roff takes it."""
    escaped = text.replace("\\", r"\e").replace("-", r"\-")
    return rf"\&{escaped}" if escaped[:1] in {".", "'"} else escaped


def main() -> None:
    """Write them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages():
        (folder / f"{name}.1").write_text(text)
    print(f"{folder}: {len(list(folder.glob('*.1')))} pages")


if __name__ == "__main__":
    main()
