"""The user that carbon will run as, before it does: what is opened for him is opened as him."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from carbonquota.errors import QuotaError
from carbonquota.service.state.files import DirectoryLock

Owner = tuple[int, int] | None
"""The numbers of a user and his group; None where the process stays who it is."""


@contextmanager
def acting_as(owner: Owner) -> Iterator[None]:
    """Read and write files as the owner within the block."""
    if owner is None or os.geteuid() != 0:
        yield
        return
    user, group = os.geteuid(), os.getegid()
    os.setegid(owner[1])
    os.seteuid(owner[0])
    try:
        yield
    finally:
        os.seteuid(user)
        os.setegid(group)


def check_state_directory(directory: str, owner: Owner) -> None:
    """Make it if need be, and see that the owner can write there and nobody else does; QuotaError says why not."""
    path = Path(directory)
    try:
        _make(path, owner)
    except OSError as error:
        raise _unusable(directory, (error.strerror or str(error)).lower()) from None
    with acting_as(owner):
        # What a run as another user left behind is refused here, as the lock could not say which setting helps.
        for entry in (path, path / "lock"):
            if entry.exists() and not os.access(entry, os.W_OK, effective_ids=True):
                raise _unusable(directory, "permission denied" if entry is path else "its lock is another user's")
        DirectoryLock(path).release()


def _make(path: Path, owner: Owner) -> None:
    """Make a directory and what is missing above it, as the owner's."""
    if path.is_dir():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir()
    if owner is not None and os.geteuid() == 0:
        os.chown(path, *owner)


def _unusable(directory: str, cause: str) -> QuotaError:
    return QuotaError(
        f"{directory}: no directory to keep the state of quotas in: {cause}; set QUOTA_STATE_DIR to one that the user "
        "carbon runs as can write to"
    )
