"""The namespaces of a fleet: what all daemons told of theirs, added up."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from carbonquota.hub.service.hub import Hub
from carbonquota.metric_name import normalize_namespace
from carbonquota.model import CONTROL_FIELDS, ROOT, Usage
from carbonquota.service.sorting import ChildSort, Order
from carbonquota.service.usage_documents import Child, NamespacePage
from carbonquota.web.kept import Recent


@dataclass(frozen=True, slots=True)
class _Tree:
    """Sums by name, and the names of each namespace's children."""

    usages: dict[str, Usage] = field(default_factory=dict)
    children: dict[str, list[str]] = field(default_factory=dict)


class FleetNamespaces:
    """A `NamespaceSource` over all daemons. Namespaces that are right below one on several daemons count on each."""

    def __init__(self, hub: Hub) -> None:
        """Add up what `hub` was told."""
        self._hub = hub
        self._tree: Recent[_Tree] = Recent()

    def namespace(
        self, namespace: str, sort: ChildSort, order: Order | None, limit: int, offset: int
    ) -> NamespacePage | None:
        """A namespace and a page of its children; None where no daemon told of it."""
        name = normalize_namespace(namespace)
        tree = self._tree.get((), lambda: _added_up(self._hub.rules.fleet_usage()))
        usage = tree.usages.get(name, Usage() if name == ROOT else None)
        if usage is None:
            return None
        names = sorted(tree.children.get(name, ()), reverse=sort == "name" and order == "desc")
        if sort != "name":
            names.sort(key=lambda child: getattr(tree.usages[child], sort), reverse=order != "asc")
        shown = tuple(Child(child, tree.usages[child], ()) for child in names[offset : offset + limit])
        return NamespacePage(name, usage, None, (), (), len(names), offset, limit, shown)


def _added_up(lines: Iterable[tuple[str, Usage]]) -> _Tree:
    tree = _Tree()
    for name, usage in lines:
        before = tree.usages.get(name)
        if before is None:
            tree.usages[name] = usage
            if name != ROOT:
                tree.children.setdefault(name.rpartition(".")[0] or ROOT, []).append(name)
        else:
            sums = (getattr(before, control) + getattr(usage, control) for control in CONTROL_FIELDS)
            tree.usages[name] = Usage(*sums)
    return tree
