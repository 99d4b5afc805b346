"""API keys: whose they are. Only digests are kept, so that neither memory nor the file need hold a key.

The file is TOML, a table a key:

    [[keys]]
    sha256 = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"
    client = "acme"
    tier = "pro"
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from carbonquota.errors import QuotaError

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_KEYS: Final = frozenset({"sha256", "client", "tier"})


@dataclass(frozen=True, slots=True)
class KeyOwner:
    """Who holds a key, and at which tier; "" is the usual one."""

    client: str
    tier: str = ""


class ApiKeys:
    """The keys by their digests. May be used from any thread."""

    def __init__(self, owners: Mapping[str, KeyOwner] | None = None) -> None:
        """`owners` are by the SHA-256 of their keys, in hexadecimal."""
        self._owners = dict(owners or {})

    def __len__(self) -> int:
        return len(self._owners)

    def replace(self, other: ApiKeys) -> None:
        """Know those that another knows, and no others."""
        self._owners = other._owners

    def owner(self, key: str) -> KeyOwner | None:
        """Whose a key is; None where nobody has it."""
        return self._owners.get(sha256(key.encode("utf-8", "surrogateescape")).hexdigest())


def read_keys(path: Path) -> ApiKeys:
    """The keys of a file; QuotaError says what is wrong with it."""
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise QuotaError(f"{path}: the API keys cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        raise QuotaError(f"{path}: this is not TOML: {error}") from None
    entries = table.get("keys", [])
    if not isinstance(entries, list) or table.keys() - {"keys"}:
        raise QuotaError(f"{path}: API keys stand in tables called [[keys]], and nothing else stands here")
    return ApiKeys(_owners(path, entries))


def _owners(path: Path, entries: Iterable[Any]) -> dict[str, KeyOwner]:
    owners: dict[str, KeyOwner] = {}
    for number, entry in enumerate(entries, 1):
        place = f"{path}: the {number}. of [[keys]]"
        if not isinstance(entry, dict) or entry.keys() - _KEYS or not all(isinstance(v, str) for v in entry.values()):
            raise QuotaError(f"{place}: it has the texts sha256, client and tier, and no others")
        digest = entry.get("sha256", "").lower()
        if not _DIGEST.fullmatch(digest):
            raise QuotaError(
                f"{place}: sha256 must be 64 hexadecimal digits, as `printf %s KEY | sha256sum` prints them"
            )
        if not entry.get("client"):
            raise QuotaError(f"{place}: it names no client")
        if digest in owners:
            raise QuotaError(f"{place}: this key is another client's already: {owners[digest].client}")
        owners[digest] = KeyOwner(entry["client"], entry.get("tier", ""))
    return owners
