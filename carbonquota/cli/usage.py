"""`carbonquota usage`: what namespaces hold, as a tree."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import click

from carbonquota.cli.index import NO_RULES, fill, size_of_schemas
from carbonquota.cli.options import SOURCE_HELP, count, output_options, schemas_option, sources_argument
from carbonquota.cli.output import Column, Json, Output, Table, number
from carbonquota.engine import QuotaEngine
from carbonquota.model import ROOT, Usage

_AMOUNTS = ("metrics", "namespaces", "data_points", "logical_size", "physical_size")
"""The columns: fields of Usage, in the order they are shown."""

_SORTS = ("metrics", "logical-size", "physical-size", "data-points", "namespaces", "name")

_INDENT = "  "


@dataclass(frozen=True, slots=True)
class Branch:
    """One line of the tree: a namespace, or how many more there are where `hidden` is above 0."""

    namespace: str
    depth: int
    usage: Usage
    hidden: int = 0

    @property
    def label(self) -> str:
        """What stands in the tree: a namespace by its last component, below its parent."""
        name = f"... {self.hidden:,} more" if self.hidden else self.namespace.rpartition(".")[2]
        return _INDENT * self.depth + name


@dataclass(frozen=True, slots=True)
class Tree:
    """The tree of what an engine holds.

    `depth` is how many levels below the root are shown, `top` how many namespaces of each, 0 for all. Namespaces
    stand by `sort`, the largest first.
    """

    engine: QuotaEngine
    depth: int
    sort: str
    top: int

    def branches(self) -> Iterator[Branch]:
        """The lines of the tree from the root down."""
        yield from self._below(Branch(ROOT, 0, self.engine.usage(ROOT)))

    def _below(self, branch: Branch) -> Iterator[Branch]:
        """A namespace and all that is shown below it."""
        yield branch
        if branch.depth == self.depth:
            return
        children = [
            Branch(name, branch.depth + 1, self.engine.usage(name)) for name in self.engine.children(branch.namespace)
        ]
        children.sort(key=self._order)
        shown = children[: self.top] if self.top else children
        for child in shown:
            yield from self._below(child)
        if hidden := children[len(shown) :]:
            yield Branch(branch.namespace, branch.depth + 1, _sum(hidden), len(hidden))

    def _order(self, branch: Branch) -> tuple[int, str]:
        """Sorts namespaces of one parent."""
        amount = 0 if self.sort == "name" else getattr(branch.usage, self.sort.replace("-", "_"))
        return -amount, branch.namespace


def _sum(branches: list[Branch]) -> Usage:
    """What several namespaces hold together."""
    return Usage(**{name: sum(getattr(branch.usage, name) for branch in branches) for name in _AMOUNTS})


@click.command(epilog=SOURCE_HELP)
@schemas_option
@click.option("--depth", type=count, default="2", show_default=True, help="Levels shown below the root.")
@click.option("--sort", type=click.Choice(_SORTS), default="metrics", show_default=True, help="Largest first.")
@click.option("--top", type=count, default="0", show_default="all", help="Namespaces shown of each parent.")
@output_options
@sources_argument
def command(  # noqa: PLR0913 - click hands every switch over by name
    *,
    sources: tuple[str, ...],
    schemas_path: str | None,
    depth: int,
    sort: str,
    top: int,
    as_json: bool,
    no_color: bool,
) -> None:
    """Show what the namespaces of some sources hold, as a tree; needs no rules."""
    output = Output(as_json=as_json, no_color=no_color)
    engine = QuotaEngine(NO_RULES, size_of=size_of_schemas(schemas_path))
    intake = fill(engine, sources, output)
    branches = list(Tree(engine, depth, sort, top).branches())
    output.document({"usage": [_document(branch) for branch in branches]} | intake.document())
    table = Table(
        (Column("namespace", folds=True), *(Column(name.replace("_", "-"), numeric=True) for name in _AMOUNTS))
    )
    for branch in branches:
        table.add(branch.label, *(number(getattr(branch.usage, name)) for name in _AMOUNTS))
    output.table(table)


def _document(branch: Branch) -> Json:
    """One line of the tree in JSON; where `hidden` is above 0, the namespaces of a parent that are not shown."""
    amounts = {name: getattr(branch.usage, name) for name in _AMOUNTS}
    return {"namespace": branch.namespace, "depth": branch.depth, "hidden": branch.hidden} | amounts
