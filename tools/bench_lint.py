"""How long lint and apply take with very many rules: patterns as people write them, and ones made to be hard.

    python tools/bench_lint.py [RULES]

CPU seconds. Reading the file is not in it.
"""

from __future__ import annotations

import sys
import time
from typing import Final

from carbonquota import QuotaEngine, RuleSet
from carbonquota.rules import lint

KINDS: Final = {
    "text": "[team.n{0}]",
    "text and a part of its own": "[n{0}.*]",
    "by how a name begins": "[n{0}*.x]",
    "by how it ends": "[*n{0}.x]",
    "alternatives": "[{{n{0},m{0}}}.*.x]",
    "by what is in a name": "[*n{0}*.x]",
    "the same, and a character more": "[*n{0}*?.x]",
    "a set of characters": "[*[ab]{0}*.x]",
    "alternatives before a star": "[{{a,b}}*{0}*.x]",
}
RULES: Final = 20_000
REACH: Final = 3.0


def cost(pattern: str, rules: int) -> tuple[float, float]:
    """CPU seconds of lint and of apply, for so many rules of this pattern."""
    ruleset = RuleSet.from_text("".join(f"{pattern.format(number)}\nmetrics = 5\n" for number in range(rules)))
    engine = QuotaEngine(RuleSet.from_text(""))
    begun = time.process_time()
    lint(ruleset)
    linted = time.process_time()
    engine.apply(ruleset)
    return linted - begun, time.process_time() - linted


def main() -> None:
    """Measure all of them."""
    rules = int(sys.argv[1]) if sys.argv[1:] else RULES
    print(f"{rules:,} rules; lint and apply together to reach: {REACH:g} s")
    for kind, pattern in KINDS.items():
        linted, applied = cost(pattern, rules)
        print(f"  {kind:32} lint {linted:5.2f} s, apply {applied:5.2f} s, {linted + applied:5.2f} s in all")


if __name__ == "__main__":
    main()
