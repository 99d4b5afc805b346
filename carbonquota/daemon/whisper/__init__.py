"""The embedded store: accepted points wait in a write cache, and a thread writes them to Whisper files."""

from __future__ import annotations

from carbonquota.daemon.whisper.sink import WhisperSink

__all__ = ["WhisperSink"]
