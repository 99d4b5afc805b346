"""Texts for eyes: URLs without the passwords in them."""

from __future__ import annotations

import re
from typing import Final

_PASSWORD: Final = re.compile(r"""(\w://[^\s"'/@:]*:)[^\s"']+(?=@)""")


def masked(text: str) -> str:
    """A text without the passwords of the URLs in it, for eyes."""
    return _PASSWORD.sub(r"\1***", text)
