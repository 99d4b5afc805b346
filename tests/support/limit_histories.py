"""Files of the limiter's rules and requests for them, made by dice: hypothesis takes far longer to draw as many."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

from carbonquota.limiter.model import Descriptor, Entry, Limit, Request, Unit

KEYS = ("user", "path", "tier", "remote_address")
VALUES = ("a", "a", "ab", "b", "pro", "192.0.2.7")
STRANGE = ("", "é" * 70, "x" * 190, "a\x1fb", "a\x1eb", "\ud800", "日本")
COUNTED: tuple[dict[str, Any], ...] = (
    {},
    {},
    {"algorithm": "token_bucket"},
    {"algorithm": "token_bucket", "burst": 6},
    {"algorithm": "sliding_window"},
    {"algorithm": "concurrency"},
)
SAID: tuple[dict[str, Any], ...] = (
    *[{}] * 6,
    {"cost": 2},
    {"cost": 2**31 + 1},
    {"name": "one"},
    {"replaces": [{"name": "one"}]},
)
FLAGS = ("shadow_mode", "charge_denied", "quota_mode", "quota_mode", "challenge", "detailed_metric", "value_to_metric")
TIERS = ({"pro": {"unlimited": True}}, {"pro": {"unit": "minute", "requests_per_unit": 5}})


class Dice:
    """Throws files and requests, the same for the same seed."""

    def __init__(self, seed: int) -> None:
        """Start with a seed."""
        self._random = Random(seed)
        self.pick = self._random.choice

    def one_in(self, number: int) -> bool:
        """True once in so many throws."""
        return self._random.randrange(number) == 0

    def file(self) -> dict[str, Any]:
        """A file of rules without mistakes."""
        file: dict[str, Any] = {"domain": "d", "descriptors": self._nodes(2)}
        if self.one_in(2):
            file["ban"] = {"blocked": 2, "within": 60, "for": 30}
        if self.one_in(4):
            listed: list[Any] = self.pick([["192.0.2.0/24"], [{"user": "a*"}], [{"path": "ab"}]])
            file[self.pick(["allow", "deny"])] = listed
        return file

    def _nodes(self, depth: int) -> list[dict[str, Any]]:
        """Some descriptors, none of them twice."""
        made: dict[tuple[str, str], dict[str, Any]] = {}
        for _ in range(self._random.randint(1, 3)):
            key, value = self.pick(KEYS), self.pick(["", "", "", "a", "a*", "*b"])
            made[key, value] = {"key": key} | ({"value": value} if value else {})
        for node in made.values():
            if depth == 0 or not self.one_in(4):
                self._rule(node)
            if depth and self.one_in(2):
                node["descriptors"] = self._nodes(depth - 1)
        return list(made.values())

    def _limit(self, said: dict[str, Any]) -> dict[str, Any]:
        unit = self.pick(["second", "minute"])
        return {"unit": unit, "requests_per_unit": self._random.randint(0, 4)} | self.pick(COUNTED) | said

    def _rule(self, node: dict[str, Any]) -> None:
        """Give a descriptor a rule."""
        said, value = self.pick(SAID), node.get("value", "")
        limits = [self._limit(said) for _ in range(self.pick([1, 1, 1, 2, 3]))]
        node["rate_limit"] = limits[0] if len(limits) == 1 else limits
        if self.one_in(8):
            node["rate_limit"] = {"unlimited": True}
        elif len(limits) == 1 and self.one_in(3):
            node["tiers"] = self.pick(TIERS)
        elif len(limits) == 1 and limits[0]["requests_per_unit"] and not value and self.one_in(4):
            node["guarantee"] = {"a": 1}
        if "*" in value:
            node["share_threshold"] = self.one_in(2)
        if self.one_in(2):
            flag = self.pick(FLAGS)
            if flag != "quota_mode" or all(limit.get("algorithm") != "concurrency" for limit in limits):
                node[flag] = True

    def descriptor(self, known: list[tuple[Entry, ...]]) -> Descriptor:
        """One that a rule holds, maybe with another value, or any."""
        entries = self.pick(known)
        if self.one_in(3):
            entries = (*entries[:-1], (entries[-1][0], self.pick(self.pick([VALUES, STRANGE]))))
        if self.one_in(10):
            entries = tuple((self.pick(KEYS), self.pick(VALUES)) for _ in range(self._random.randint(0, 3)))
        hits = self.pick([None, None, None, None, None, 0, 3, 2**40])
        return Descriptor(entries, hits, Limit(1, Unit.MINUTE) if self.one_in(12) else None)

    def request(self, known: list[tuple[Entry, ...]]) -> Request:
        """One with a few descriptors, and seldom with none, or too many."""
        count = self.pick([1, 1, 1, 2, 2, 3, self._random.randint(0, 9)])
        return Request(
            "e" if self.one_in(10) else "d",
            tuple(self.descriptor(known) for _ in range(count)),
            self.pick([1, 1, 1, 0, 2]),
            self.pick(["", "", "pro", "free"]),
            self.pick(["", "192.0.2.7", "198.51.100.1"]),
            self.pick(["", "", "alice", "mallory"]),
            self.pick(["", "GET /x"]),
        )


def paths(listed: list[dict[str, Any]]) -> Iterator[tuple[Entry, ...]]:
    """The entries that rules of a file hold."""
    for node in listed:
        value = node.get("value", "a").replace("*", "b")
        yield ((node["key"], value),)
        for below in paths(node.get("descriptors", [])):
            yield ((node["key"], value), *below)
