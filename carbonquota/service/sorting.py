"""What lists of namespaces can be sorted by, as a query says it."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Literal

from carbonquota.control import CAPACITIES, CONTROLS

Order = Literal["asc", "desc"]

QuotaSort = Literal["percent", "namespace", "throttle", "dropped"]
"""What namespaces under rules are sorted by."""

if TYPE_CHECKING:
    # Which they are follows from the table of controls, and only at run time.
    ChildSort = str
    TreeSort = str
else:
    ChildSort = Literal["name", *(control.stat for control in CONTROLS)]
    TreeSort = Literal[*(control.stat for control in sorted(CAPACITIES, key=attrgetter("turn"))), "name"]
"""What the namespaces right below one are sorted by, and those of each parent in a tree: a field of `Usage`, the
largest first, or their name."""
