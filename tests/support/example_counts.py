"""How many examples a property is tried with.

`EXAMPLES_SHARE` in the environment, such as 0.4, has each property tried with that share of them, as a build with
sanitizers is, which is several times slower and looks for what one example shows as well as ten.
"""

from __future__ import annotations

import os


def examples(whole: int) -> int:
    """That many, or the share of them that is asked for."""
    return max(int(whole * float(os.environ.get("EXAMPLES_SHARE", "1"))), 1)
