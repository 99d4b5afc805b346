"""Whisper files as they lie on disk: the tree of them, and which file is which metric's."""
