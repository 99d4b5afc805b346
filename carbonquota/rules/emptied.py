"""A rules file that has lost all of its sections: emptied on purpose, or about to be written anew.

An editor, a full disk or a failed template leaves a file of 0 bytes, or of comments only. Taken at its word, it would
take all limits away. Who means it says so, with a comment `# empty`.
"""

from __future__ import annotations

from collections.abc import Iterator

from carbonquota.errors import Problem


def is_empty_on_purpose(text: str) -> bool:
    """Whether a comment on a line of its own says `empty`."""
    lines = (line.strip() for line in text.splitlines())
    return any(line[:1] in {"#", ";"} and line.lstrip("#; \t").lower() == "empty" for line in lines)


def emptied(source: str, text: str, sections: int) -> Iterator[Problem]:
    """The problem of a file without sections, of which `sections` are in force; none where this is meant."""
    if not is_empty_on_purpose(text):
        how_many = "1 section is" if sections == 1 else f"{sections:,} sections are"
        message = f"this file has no sections any more, while {how_many} in force"
        yield Problem(source, 0, 0, 0, "", message, 'where that is meant, write a line "# empty" into it, or restart')
