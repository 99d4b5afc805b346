"""What a namespace is called in stats: one name, without dots of its own, that never grows too long.

Two namespaces may come out the same (`a.b-c` and `a-b.c`); `collision_suffix` tells them apart. The hashes are the
same in every process and release, since dashboards and alerts are built on these names.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Final

from carbonquota.model import ROOT

LONGEST: Final = 250
"""From so many characters on, a namespace's part of a name is cut to `KEPT` and given a hash."""

KEPT: Final = 233
"""How many characters a cut name keeps: with a dash and 16 hex digits it has `LONGEST` again."""


def stat_name(namespace: str, prefix: str = "") -> str:
    """The name of a namespace in stats: the prefix as it is, then the namespace with `-` for dots, or `root`."""
    name = "root" if namespace == ROOT else namespace.replace(".", "-")
    if len(name) >= LONGEST:
        name = f"{name[:KEPT]}-{_digest(namespace, 8)}"
    return prefix + name


def stat_names(namespaces: Sequence[str]) -> list[str]:
    """`stat_name` for many namespaces without a prefix, in normal form; quicker than one after the other."""
    if not namespaces:
        return []
    # No name has a line end in it.
    names = "\n".join(namespaces).replace(".", "-").split("\n")
    for place, namespace in enumerate(namespaces):
        if len(namespace) >= LONGEST or namespace == ROOT:
            names[place] = stat_name(namespace)
    return names


def collision_suffix(namespace: str) -> str:
    """What sets a namespace's stat name apart from another's that came out the same: a dash and 8 hex digits."""
    return f"-{_digest(namespace, 4)}"


def _digest(namespace: str, size: int) -> str:
    return blake2b(namespace.encode("utf-8", "surrogatepass"), digest_size=size).hexdigest()
