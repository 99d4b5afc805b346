"""Carbon 1.1.10 cannot be imported where Python has no `imp` any more."""

from __future__ import annotations

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("imp") else ["test_*.py"]
