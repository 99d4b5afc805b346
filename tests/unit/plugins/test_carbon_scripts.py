"""The commands: which carbon they run, and how they end where they cannot."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[3]
PROGRAMS = ("carbon-cache", "carbon-relay", "carbon-aggregator", "carbon-aggregator-cache")

WITHOUT_PACKAGES = """\
import os, sys
from importlib.util import find_spec
from pathlib import Path
sys.meta_path = [finder for finder in sys.meta_path if "editable" not in repr(finder)]
sys.path[:] = [{project!r}, *(path for path in sys.path if "-packages" not in path)]
os.environ.pop("GRAPHITE_ROOT", None)
import carbonquota.plugins.carbon_scripts as scripts
scripts._STOCK = {stock!r}
scripts._find_carbon(Path({prefix!r}))
print(find_spec("carbon").origin, os.environ.get("GRAPHITE_ROOT"))
"""


def find_carbon(stock: Path, prefix: Path) -> subprocess.CompletedProcess[str]:
    """Look for carbon where no package is installed."""
    program = WITHOUT_PACKAGES.format(project=str(PROJECT), stock=str(stock), prefix=str(prefix))
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)


def run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    script = Path(sysconfig.get_path("scripts")) / f"carbonquota-{program}"
    return subprocess.run([str(script), *arguments], capture_output=True, text=True, check=False)


def put_carbon(root: Path) -> Path:
    package = root / "lib" / "carbon"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    return package / "__init__.py"


@pytest.mark.parametrize("place", ["stock", "prefix"])
def test_carbon_is_found_below_its_own_root_which_is_then_graphites(tmp_path: Path, place: str) -> None:
    carbon = put_carbon(tmp_path / place)
    done = find_carbon(tmp_path / "stock", tmp_path / "prefix")
    assert (done.stderr, done.stdout) == ("", f"{carbon} {tmp_path / place}\n")


def test_where_there_is_no_carbon_it_is_told_how_to_get_it(tmp_path: Path) -> None:
    done = find_carbon(tmp_path / "stock", tmp_path / "prefix")
    assert done.returncode == 1
    assert done.stderr == (
        "carbon is not installed: pip install 'carbonquota[carbon]', or set GRAPHITE_ROOT to where it is\n"
    )


def test_every_program_of_carbon_has_its_command() -> None:
    scripts = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["scripts"]
    assert {f"carbonquota-{program}" for program in PROGRAMS} | {"carbonquota"} == set(scripts)


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_command_without_a_configuration_ends_as_carbons_own_does(program: str, tmp_path: Path) -> None:
    done = run(program, "--config", str(tmp_path / "carbon.conf"), "start")
    assert (done.returncode, done.stderr) == (
        1,
        f"Error: missing required config '{tmp_path / 'carbon.conf'}'\n",
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("QUOTAS_FILE = 100%.conf", "'%' must be followed by '%' or '(', found: '%.conf'"),
        ("[cache]", "While reading from '{path}' [line 2]: section 'cache' already exists"),
    ],
)
def test_a_configuration_that_carbon_cannot_read_is_told_in_one_line(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "carbon.conf"
    path.write_text(f"[cache]\n{line}\n")
    done = run("carbon-cache", "--config", str(path), "start")
    assert (done.returncode, done.stderr) == (1, f"{message.format(path=path)}\n")


def test_a_command_without_arguments_shows_carbons_usage_under_its_own_name() -> None:
    done = run("carbon-relay")
    assert done.stdout == "Usage: carbonquota-carbon-relay [options] <start|stop|status>\n\n"
