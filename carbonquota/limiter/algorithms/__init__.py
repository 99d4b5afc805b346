"""How requests are counted: pure functions over a state and a clock, for each algorithm.

Theory of operation. A *policy* is what a limit comes to for an algorithm, in whole numbers. A *state* is a tuple of
ints, or None for a key that was never seen, and after `expiry` a state is as good as None. `ask` tells whether hits
fit, and `take` gives the state behind them, whether they fit or not. Times are whole microseconds since the epoch.
These functions are the definition; the compiled counters and the store's functions give the same answers.

A clock may be set. Where it goes back, the state is dated to now: what was used stays used, and nothing is granted
for time that passes twice. Where it goes forward, that is time that passed, so a jump there and back grants one
burst, or one window, more at most.
"""

from __future__ import annotations

from carbonquota.limiter.algorithms.functions import FUNCTIONS, Functions, ask, expiry, functions_of, penalize, take
from carbonquota.limiter.algorithms.policy import NEVER, Algorithm, Outcome, Policy, State, policy_of, scaled

__all__ = [
    "FUNCTIONS",
    "NEVER",
    "Algorithm",
    "Functions",
    "Outcome",
    "Policy",
    "State",
    "ask",
    "expiry",
    "functions_of",
    "penalize",
    "policy_of",
    "scaled",
    "take",
]
