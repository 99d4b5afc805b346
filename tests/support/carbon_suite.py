"""Runs carbon's own tests against the carbon that is installed, plain or with quotas in its pipeline; a script.

    python -P tests/support/carbon_suite.py FOLDER CHECKOUT [QUOTAS_FILE]

FOLDER is an empty one to work in, CHECKOUT a checkout of carbon's repository at the release that is installed. With a
rules file, quotas are put into the carbon-cache that the tests find around them. Prints JSON: how many tests ran, and
which of them failed.
"""

from __future__ import annotations

import json
import logging
import sys
import unittest
import unittest.mock
from importlib import import_module
from pathlib import Path
from typing import Any

import carbon
from carbon.conf import settings


def prepare(folder: Path, checkout: Path) -> None:
    """Make carbon's tests importable beside the installed carbon, and configure that."""
    sys.modules.setdefault("mock", unittest.mock)  # what they were written with
    carbon.__path__.append(str(checkout / "lib" / "carbon"))
    conf, storage = folder / "conf", folder / "storage"
    conf.mkdir()
    (storage / "whisper").mkdir(parents=True)
    (conf / "storage-schemas.conf").write_text("[all]\npattern = .*\nretentions = 60s:1d\n")
    settings.update(
        program="carbon-cache",
        instance="a",
        CONF_DIR=str(conf),
        STORAGE_DIR=str(storage),
        LOCAL_DATA_DIR=str(storage / "whisper"),
    )


def make_cache(quotas: str | None) -> None:
    """Make the services of a carbon-cache, as its script does, and perhaps put quotas into them.

    What is imported here reads the settings while it is imported.
    """
    root = import_module("carbon.service").createCacheService(None)
    if quotas is None:
        return
    settings["QUOTAS_FILE"] = quotas
    ours = import_module("carbonquota.plugins.settings").read_settings(settings, "carbon.conf")
    import_module("carbonquota.plugins.install").install(root, ours, {})
    first = import_module("carbon.state").pipeline_processors[0]
    assert type(first).__name__ == "QuotaProcessor", first


def run() -> dict[str, Any]:
    """All tests that can be imported here; some want packages that carbon works without."""
    tests = Path(sys.argv[2]) / "lib" / "carbon" / "tests"
    names = [f"carbon.tests.{path.stem}" for path in sorted(tests.glob("test_*.py"))]
    result = unittest.TextTestRunner(stream=sys.stderr).run(unittest.defaultTestLoader.loadTestsFromNames(names))
    bad = [*result.failures, *result.errors]
    return {"ran": result.testsRun, "failed": sorted(test.id() for test, _ in bad)}


if __name__ == "__main__":
    logging.disable()
    prepare(Path(sys.argv[1]), Path(sys.argv[2]))
    make_cache(sys.argv[3] if len(sys.argv) > 3 else None)
    sys.stdout.write(f"{json.dumps(run())}\n")
