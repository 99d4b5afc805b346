"""Messages as `proto/` describes them, written by tools/make_messages.py."""
