"""What survives a restart: a snapshot of the index, and a journal of what changed since."""

from carbonquota.service.state.keeper import Restored, StateKeeper

__all__ = ["Restored", "StateKeeper"]
