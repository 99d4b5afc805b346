"""One hypothesis profile for all tests: no deadline, for slow machines; a failure prints how to replay it.

Where CI is set, the examples are the same in every run, so that a change is judged by what it changes. Elsewhere they
are new each time, which is how rare cases are found.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support.disks import Mounted, mounting
from tests.support.example_counts import examples

pytest.register_assert_rewrite("tests.support.engines")

settings.register_profile(
    "carbonquota",
    deadline=None,
    max_examples=examples(60),
    derandomize=bool(os.environ.get("CI")),
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("carbonquota")

# A shell that runs the tests in the background has Ctrl-C ignored, and so would every process that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def mounted() -> Mounted:
    """Mounts a file system in memory on a directory; without the right to, the test is skipped."""
    return mounting()


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Postgres server, for all tests that need one, in all processes that run tests now."""
    from tests.support.hub import shared_postgres  # noqa: PLC0415 - only some tests need it

    folder = tmp_path_factory.getbasetemp()
    with shared_postgres(folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A new database of either kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/hub.sqlite"
    from tests.support.hub import new_postgres_database  # noqa: PLC0415 - only some tests need it

    return new_postgres_database(request.getfixturevalue("postgres"))
