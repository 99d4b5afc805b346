"""Components as automata: matching in bounded time whatever the glob, and comparing two globs exactly.

Theory of operation. A component becomes a nondeterministic automaton whose states are numbers: `moves` lead from
a state to the next on a character, `skips` without one. Matching keeps the *set* of states that the characters so
far can have reached, so its time is the name's length times the glob's, with no backtracking to blow up.

Whether one glob includes another is decided by walking both at once, over one representative character for each
interval that the character sets of the two tell apart: a pair in which the inner one can end and the outer one
cannot is a name that only the inner one matches. The walk is cut off at `MOST_PAIRS`; a question cut off is
answered so that nothing is claimed: "not included", "may overlap". A name is never empty, so the empty string
proves nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import product
from typing import Final

from carbonquota.rules.glob import ANY_CHARACTER, AnyRun, Characters, Choice, Token, Tokens

MOST_PAIRS: Final = 5_000
"""How many pairs of state sets a comparison looks at before it gives up."""

States = frozenset[int]
Label = str | Characters


class Automaton:
    """One component as a nondeterministic automaton.

    `moves` holds, for each state, the characters that lead on and where to; `start` is the states it may begin in
    and `end` the one it ends in.
    """

    __slots__ = ("_reached", "_skips", "end", "moves", "start")

    def __init__(self, tokens: Tokens) -> None:
        """Build the states for the tokens."""
        self.moves: list[list[tuple[Label, int]]] = [[]]
        self._skips: list[list[int]] = [[]]
        self._reached: dict[int, States] = {}
        self.end = self._add_tokens(tokens, 0)
        self.start = self._closure([0])

    def matches(self, name: str) -> bool:
        """Whether the whole name is matched."""
        states = self.start
        for character in name:
            states = self.after(states, character)
        return self.accepts(states)

    def accepts(self, states: States) -> bool:
        """Whether a name may end in these states."""
        return self.end in states

    def after(self, states: States, character: str) -> States:
        """The states reached from these by one character."""
        return self._closure(target for state in states for label, target in self.moves[state] if character in label)

    def boundaries(self) -> Iterator[int]:
        """The code points at which the automaton's character sets begin, and the first ones behind them."""
        for moves in self.moves:
            for label, _ in moves:
                ranges = ((ord(label), ord(label)),) if isinstance(label, str) else label.ranges
                for low, high in ranges:
                    yield from (low, high + 1)

    def _closure(self, states: Iterable[int]) -> States:
        reached: set[int] = set()
        for state in states:
            if state not in reached:
                reached |= self.reached_by_skips(state)
        return frozenset(reached)

    def reached_by_skips(self, state: int) -> States:
        """The state, and those reached from it without a character."""
        known = self._reached.get(state)
        if known is None:
            reached = {state}
            waiting = [state]
            while waiting:
                fresh = set(self._skips[waiting.pop()]) - reached
                reached |= fresh
                waiting += fresh
            known = self._reached[state] = frozenset(reached)
        return known

    def _new_state(self) -> int:
        self.moves.append([])
        self._skips.append([])
        return len(self.moves) - 1

    def _add_tokens(self, tokens: Tokens, state: int) -> int:
        for token in tokens:
            state = self._add_token(token, state)
        return state

    def _add_token(self, token: Token, state: int) -> int:
        after = self._new_state()
        if isinstance(token, AnyRun):
            self._skips[state].append(after)
            self.moves[after].append((ANY_CHARACTER, after))
        elif isinstance(token, Choice):
            for option in token.options:
                first = self._new_state()
                self._skips[state].append(first)
                self._skips[self._add_tokens(option, first)].append(after)
        else:
            self.moves[state].append((token, after))
        return after


def includes(outer: Automaton, inner: Automaton) -> bool:
    """Whether every name that `inner` matches is surely matched by `outer`."""
    return all(
        pair is not None and (outer.accepts(pair[1]) or not inner.accepts(pair[0])) for pair in _walk(inner, outer)
    )


def overlap(one: Automaton, other: Automaton) -> bool:
    """Whether some name may be matched by both."""
    waiting = [(here, there) for here in one.start for there in other.start]
    seen = set(waiting)
    while waiting:
        pair = waiting.pop()
        if pair == (one.end, other.end) or len(seen) > MOST_PAIRS:
            return True
        fresh = set(_next_pairs(one, other, *pair)) - seen
        seen |= fresh
        waiting += fresh
    return False


def _next_pairs(one: Automaton, other: Automaton, here: int, there: int) -> Iterator[tuple[int, int]]:
    """The pairs of states that some one character leads to from these two."""
    for label, target in one.moves[here]:
        for other_label, other_target in other.moves[there]:
            if _share_a_character(label, other_label):
                yield from product(one.reached_by_skips(target), other.reached_by_skips(other_target))


def _share_a_character(one: Label, other: Label) -> bool:
    """Whether some character surely or possibly is in both."""
    if isinstance(one, str):
        return one in other
    if isinstance(other, str):
        return other in one
    if one.negated and other.negated:
        return True
    if one.negated:
        one, other = other, one
    if other.negated:
        return not all(any(low <= start and end <= high for low, high in other.ranges) for start, end in one.ranges)
    return any(low <= end and start <= high for low, high in one.ranges for start, end in other.ranges)


def _walk(lead: Automaton, other: Automaton) -> Iterator[tuple[States, States] | None]:
    """Every pair of state sets that a name can lead to, as long as `lead` is alive; None if it was cut off."""
    alphabet = [chr(code) for code in {0, *lead.boundaries(), *other.boundaries()} if code < 0x110000]
    waiting = [(lead.start, other.start)]
    seen = set(waiting)
    while waiting:
        here, there = waiting.pop()
        for character in alphabet:
            pair = (lead.after(here, character), other.after(there, character))
            if not pair[0] or pair in seen:
                continue
            if len(seen) >= MOST_PAIRS:
                yield None
                return
            seen.add(pair)
            waiting.append(pair)
            yield pair
