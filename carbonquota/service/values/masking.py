"""Texts for eyes: without the passwords of URLs, and without tokens."""

from __future__ import annotations

import re
from typing import Final

_PASSWORD: Final = re.compile(r"""(\w://[^\s"'/@:]*:)[^\s"']+(?=@)""")
_TOKEN: Final = re.compile(r"""(cq_[0-9a-f]{12}_|^\s*token\s*=\s*["'])[^\s"']+""")
"""One of our tokens, or whatever a key `token` has."""


def masked(text: str) -> str:
    """A text without the passwords of the URLs and the tokens in it, for eyes."""
    return _TOKEN.sub(r"\1***", _PASSWORD.sub(r"\1***", text))
