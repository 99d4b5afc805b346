"""What somebody probably meant: the nearest of the words that are known."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that `word` most likely misspells, or None; case and `_` for `-` count for nothing."""
    words = {candidate.lower().replace("_", "-"): candidate for candidate in known}
    close = get_close_matches(word.lower().replace("_", "-"), words, n=1, cutoff=0.6)
    return words[close[0]] if close else None


def did_you_mean(word: str, known: Iterable[str], kind: str) -> str:
    """A question naming the nearest known word, or else the list of all of them, each called a `kind`."""
    words = tuple(known)
    near = nearest(word, words)
    return f'did you mean "{near}"?' if near else f"{kind} are: {', '.join(words)}"
