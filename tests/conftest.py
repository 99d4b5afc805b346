"""One hypothesis profile for all tests: no deadline, for slow machines; a failure prints how to replay it."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

pytest.register_assert_rewrite("tests.support.engines")

settings.register_profile(
    "carbonquota",
    deadline=None,
    max_examples=60,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("carbonquota")
