"""Which kernel runs: the compiled one where it was built, or what CARBONQUOTA_KERNEL asks for."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import carbonquota
from tests.support.kernels import IS_BUILT, if_built

ASK = """
import sys
sys.path.insert(0, sys.argv[1])
from carbonquota.errors import QuotaError
try:
    from carbonquota import kernel
except QuotaError as error:
    print(f"QuotaError: {error}")
else:
    from carbonquota import QuotaEngine, RuleSet
    backend = type(QuotaEngine(RuleSet.from_text(""))._backend).__name__
    print(kernel.KERNEL, kernel.COMPILED, backend, kernel.SeriesTable.__module__)
"""
NOT_BUILT = (
    "QuotaError: CARBONQUOTA_KERNEL=compiled, but this installation has no compiled kernel: install carbonquota anew"
    " where there is a C compiler, or unset the variable"
)
PACKAGE = Path(carbonquota.__file__).parent
PLAIN = "python False ReferenceBackend carbonquota.kernel._table"
COMPILED = "compiled True NativeBackend carbonquota.kernel._cy"


def answer_of(root: Path, variable: str | None) -> str:
    """What a Python of its own finds as the kernel of the package below `root`."""
    environment = {name: value for name, value in os.environ.items() if name != "CARBONQUOTA_KERNEL"}
    if variable is not None:
        environment["CARBONQUOTA_KERNEL"] = variable
    command = [sys.executable, "-c", ASK, str(root)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""
    return done.stdout.strip()


@pytest.fixture(scope="module")
def without_compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package as it is where there was no C compiler."""
    root = tmp_path_factory.mktemp("plain")
    # Of what is compiled everything goes, and nothing else: bytecode names the file that it is of.
    shutil.copytree(PACKAGE, root / "carbonquota", ignore=shutil.ignore_patterns("_cy.*", "__pycache__"))
    return root


@pytest.mark.parametrize(
    ("variable", "answer"),
    [
        (None, COMPILED if IS_BUILT else PLAIN),
        ("", COMPILED if IS_BUILT else PLAIN),
        ("python", PLAIN),
        pytest.param("compiled", COMPILED, marks=if_built),
        ("nonsense", "QuotaError: CARBONQUOTA_KERNEL=nonsense names no kernel: it is python or compiled, or not set"),
    ],
)
def test_the_variable_chooses_the_kernel(variable: str | None, answer: str) -> None:
    assert answer_of(PACKAGE.parent, variable) == answer


@pytest.mark.parametrize(
    ("variable", "answer"), [(None, PLAIN), ("", PLAIN), ("python", PLAIN), ("compiled", NOT_BUILT)]
)
def test_where_none_was_compiled_the_plain_one_runs(without_compiled: Path, variable: str | None, answer: str) -> None:
    assert answer_of(without_compiled, variable) == answer
