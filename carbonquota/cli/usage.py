"""`carbonquota usage`: what namespaces hold, as a tree."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any, Final, get_args

import click

from carbonquota.cli.index import NO_RULES, fill, size_of_schemas
from carbonquota.cli.options import (
    SOURCE_HELP,
    count,
    output_options,
    refuse_with_url,
    require,
    schemas_option,
    url_option,
)
from carbonquota.cli.output import Column, Json, Output, TextTable, number
from carbonquota.cli.remote import LiveDaemon
from carbonquota.control import HELD
from carbonquota.engine import QuotaEngine
from carbonquota.metric_name import DEEPEST
from carbonquota.model import ROOT
from carbonquota.service.documents import UsageDocument, UsageLine
from carbonquota.service.sorting import TreeSort
from carbonquota.service.usage_tree import UsageTree

_SORTS: Final = {sort.replace("_", "-"): sort for sort in get_args(TreeSort)}
"""What `--sort` takes, and what it means."""

_INDENT = "  "


@click.command(epilog=SOURCE_HELP)
@schemas_option
@url_option
@click.option("--cluster", is_flag=True, help="With --url, show what all nodes of its cluster hold together.")
@click.option("--depth", type=count, default="2", show_default=True, help="Levels shown below the root.")
@click.option("--sort", type=click.Choice(list(_SORTS)), default="metrics", show_default=True, help="Largest first.")
@click.option("--top", type=count, default="0", show_default="all", help="Namespaces shown of each parent.")
@output_options
@click.argument("sources", metavar="SOURCE...", nargs=-1, type=click.Path(path_type=str, readable=False))
@click.pass_context
def command(  # noqa: PLR0913 - click hands every switch over by name
    ctx: click.Context,
    *,
    sources: tuple[str, ...],
    url: str | None,
    cluster: bool,
    schemas_path: str | None,
    depth: int,
    sort: str,
    top: int,
    as_json: bool,
    no_color: bool,
) -> None:
    """Show what the namespaces of some sources hold, as a tree; needs no rules.

    With --url, show what the namespaces of a live daemon hold; then give namespaces instead of sources, or none for
    the root.
    """
    output = Output(as_json=as_json, no_color=no_color)
    if url is not None:
        refuse_with_url(ctx, "schemas_path")
        tree: dict[str, Any] = {"depth": min(depth, DEEPEST), "sort": _SORTS[sort], "top": top}
        lines = _live(LiveDaemon(url), sources or (ROOT,), **tree, **({"of": "cluster"} if cluster else {}))
        _show(lines, output, {})
        return
    if cluster:
        raise click.UsageError("--cluster needs --url: files tell nothing of other nodes", ctx)
    require(ctx, "sources")
    engine = QuotaEngine(NO_RULES, size_of=size_of_schemas(schemas_path))
    intake = fill(engine, sources, output)
    _show(list(UsageTree(engine, depth, _SORTS[sort], top).lines()), output, intake.document())


def _live(daemon: LiveDaemon, namespaces: Iterable[str], **tree: Any) -> list[UsageLine]:  # noqa: ANN401 - of a query
    """The trees of a live daemon's namespaces."""
    documents = [daemon.ask(UsageDocument, "/api/usage", namespace=namespace, **tree) for namespace in namespaces]
    return [line for document in documents for line in document.usage]


def _show(lines: list[UsageLine], output: Output, unread: Json) -> None:
    """Print the lines of trees, and in JSON what could not be read."""
    output.document(asdict(UsageDocument(tuple(lines))) | unread)
    headings = (Column(name.replace("_", "-"), numeric=True) for name in HELD)
    table = TextTable((Column("namespace", folds=True), *headings))
    for line in lines:
        table.add(_label(line), *(number(getattr(line, name)) for name in HELD))
    output.table(table)


def _label(line: UsageLine) -> str:
    """What stands in the tree: a namespace by its last component, below its parent, or how many more there are."""
    if line.hidden:
        name = f"... {line.hidden:,} more"
    else:
        name = line.namespace.rpartition(".")[2] if line.depth else line.namespace
    return _INDENT * line.depth + name
