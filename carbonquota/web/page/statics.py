"""Static files: ours, and those of others that the build may have put in. Read once, and served from memory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from starlette.responses import Response

HERE: Final = Path(__file__).parent
OWN: Final = HERE / "static"
VENDORED: Final = HERE / "assets"
"""What `make assets` writes; a checkout has it only then."""

_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_FOR_EVER: Final = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class StaticFile:
    """One file; `version` is of its content, and part of its address, so that it may be kept for ever."""

    content: bytes
    content_type: str
    version: str


class Statics:
    """The files by name."""

    def __init__(self, folders: Iterable[Path] = (OWN, VENDORED)) -> None:
        """Read what these folders have of the known kinds; folders that do not exist have none."""
        self._files = {
            path.name: _read(path)
            for folder in folders
            if folder.is_dir()
            for path in sorted(folder.iterdir())
            if path.suffix in _TYPES
        }

    def __contains__(self, name: str) -> bool:
        """Whether there is such a file."""
        return name in self._files

    def url(self, name: str) -> str:
        """Where a file is, with the version of its content."""
        return f"/static/{name}?v={self._files[name].version}"

    def answer(self, name: str) -> Response | None:
        """A file; None where there is none of this name."""
        file = self._files.get(name)
        if file is None:
            return None
        headers = {"Cache-Control": _FOR_EVER, "X-Content-Type-Options": "nosniff"}
        return Response(file.content, media_type=file.content_type, headers=headers)


def _read(path: Path) -> StaticFile:
    content = path.read_bytes()
    return StaticFile(content, _TYPES[path.suffix], sha256(content).hexdigest()[:12])
