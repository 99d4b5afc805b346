"""The progress bar over the sources of a command: drawn on stderr, and only where that is a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn
from rich.text import Text

from carbonquota.cli.sources import Advance, Source

StartSource = Callable[[Source], Advance]
"""Called when a source is begun; gives what is then to be told of how far it got."""


class _AmountColumn(ProgressColumn):
    """How far a source has been read: a percentage, or an amount where its end is not known."""

    def render(self, task: Task) -> Text:
        """The text of one source's line."""
        if task.total is not None:
            return Text(f"{task.percentage:3.0f}%")
        return Text(f"{int(task.completed):,} {task.fields['unit']}")


@contextmanager
def progress_bar(console: Console | None) -> Iterator[StartSource]:
    """Draw progress on the console for as long as the block runs, and wipe it away then; None draws nothing."""
    if console is None:
        yield lambda _: lambda _: None
        return
    name = TextColumn("{task.description}", markup=False)
    with Progress(name, BarColumn(), _AmountColumn(), TimeElapsedColumn(), console=console, transient=True) as progress:

        def start(source: Source) -> Advance:
            unit = "files" if source.is_tree else "bytes"
            task = progress.add_task(source.name, total=source.length, unit=unit)
            return lambda amount: progress.advance(task, amount)

        yield start
