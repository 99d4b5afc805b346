"""What the size of a new metric costs by 10 and by 100 schemas, beside Python's `re` asked schema by schema."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from time import process_time

from carbonquota.rules import Schemas

_NAMES = 20_000


def by_team(number: int) -> str:
    """A pattern that begins with a literal, as most do."""
    return rf"^team{number}\."


def anywhere(number: int) -> str:
    """One of several kinds, half of them found anywhere in a name."""
    kinds = (rf"^team{number}\..*\.cpu\.", rf"\.count{number}$", by_team(number), rf".*\.cpu\..*\.total{number}.*\.x$")
    return kinds[number % 4]


def main() -> None:
    """Print a table."""
    random.seed(1)
    print("| schemas | names | re, one by one | sizes_of |\n|---|---|---|---|")
    for amount in (10, 100):
        for kind, pattern in (("with a prefix", by_team), ("of several kinds", anywhere)):
            patterns = [*map(pattern, range(amount - 1)), ".*"]
            sections = (
                f"[{place}]\npattern = {one}\nretentions = 60:{place + 1}\n" for place, one in enumerate(patterns)
            )
            schemas = Schemas.from_text("".join(sections))
            compiled = [re.compile(one) for one in patterns]

            def one_by_one(names: Sequence[str], compiled: Sequence[re.Pattern[str]] = compiled) -> None:
                for name in names:
                    next(one for one in compiled if one.search(name))

            spaces = [f"team{random.randrange(amount + 5)}.host{place}.cpu" for place in range(2_000)]
            known = [f"{random.choice(spaces)}.m{place}" for place in range(_NAMES)]
            schemas.sizes_of([f"{space}.x" for space in spaces] * 2)
            fresh = [f"team{random.randrange(amount + 5)}.new{place}.m{place}" for place in range(_NAMES)]
            for what, names in (("known namespaces", known), ("each in a new one", fresh)):
                before, after = cost(one_by_one, names), cost(schemas.sizes_of, names)
                print(f"| {amount}, {kind} | {what} | {before:,.0f} ns | {after:,.0f} ns |")


def cost(what: Callable[[Sequence[str]], object], names: Sequence[str]) -> float:
    """Nanoseconds of processor time a name."""
    begun = process_time()
    for start in range(0, len(names), 1_000):
        what(names[start : start + 1_000])
    return (process_time() - begun) / len(names) * 1e9


if __name__ == "__main__":
    main()
