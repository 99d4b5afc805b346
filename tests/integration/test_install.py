"""What gets installed from a checkout and an sdist: with a C compiler the compiled kernel, without one all the rest.

Each installation goes into a virtualenv of its own, without network; what carbonquota depends on is lent by the
virtualenv that runs the tests.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import tarfile
import time
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.support.daemon import wait_until

ROOT = Path(__file__).parents[2]
SOURCE = (
    "carbonquota",
    "etc",
    "proto",
    "tests",
    "tools",
    "setup.py",
    "setup.cfg",
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "MANIFEST.in",
)
NO_COMPILER = "/nonexistent/cc"
LENT = next(path for path in sys.path if Path(path).name == "site-packages")
OFFLINE = ("--disable-pip-version-check", "--no-index", "--no-deps", "--no-build-isolation")
MAKE_SDIST = "from setuptools import build_meta; build_meta.build_sdist('sdists')"
NO_KERNEL = "carbonquota: no compiled kernel: "
REMEDY = " The plain kernel takes its place: slower, else the same.\n"

needs_compiler = pytest.mark.skipif(
    find_spec("carbonquota.kernel._cy") is None, reason="no compiled kernel here: it was built without a C compiler"
)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the project as it comes, with nothing built."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    for name in SOURCE:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("*.so", "_cy.c", "__pycache__"))
        else:
            shutil.copy2(ROOT / name, folder / name)
    return folder


def surroundings(**changes: str) -> dict[str, str]:
    """The environment less what would decide the outcome."""
    ours = {"CARBONQUOTA_KERNEL", "CARBONQUOTA_NO_EXTENSION", "MAKEFLAGS", "MFLAGS", "PYTHONPATH"}
    return {name: value for name, value in os.environ.items() if name not in ours} | changes


def run(folder: Path, *command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    variables = surroundings(**environment)
    return subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, timeout=300, check=False)


def pip(folder: Path, *arguments: str | Path, **environment: str) -> str:
    done = run(folder, sys.executable, "-m", "pip", *arguments, **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def wheel_of(folder: Path, source: str | Path, *options: str, **environment: str) -> tuple[Path, str]:
    """The wheel that pip makes of this, and all it says."""
    said = pip(folder, "wheel", *OFFLINE, *options, "--wheel-dir", folder / "wheels", source, **environment)
    (wheel,) = (folder / "wheels").iterdir()
    return wheel, said


def hasty_compiler(folder: Path) -> str:
    """The C compiler, without the optimisations that take most of its time."""
    script = folder / "hasty-cc"
    script.write_text(f'#!/bin/sh\nexec {shutil.which("cc") or "cc"} "$@" -O0\n')
    script.chmod(0o755)
    return str(script)


def contents(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def version_installed(folder: Path, *what: str | Path, **environment: str) -> str:
    """What `carbonquota --version` says in a fresh virtualenv that this is installed into."""
    home = folder / "fresh"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", home], check=True)
    (packages,) = home.glob("lib/python*/site-packages")
    (packages / "lent.pth").write_text(LENT)
    pip(folder, "--python", home / "bin" / "python", "install", *OFFLINE, *what, **environment)
    done = run(folder, home / "bin" / "carbonquota", "--version")
    assert done.returncode == 0, done.stderr
    return done.stdout


@needs_compiler
def test_an_sdist_has_what_it_takes_to_build_the_kernel_and_its_wheel_has_the_kernel_and_nothing_for_tests(
    checkout: Path,
) -> None:
    made = run(checkout, sys.executable, "-c", MAKE_SDIST)
    assert made.returncode == 0, made.stderr
    (sdist,) = (checkout / "sdists").iterdir()
    with tarfile.open(sdist) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    sources = [path for path in (checkout / "carbonquota").rglob("*") if path.suffix in {".py", ".pyx", ".pyi", ".h"}]
    assert {str(path.relative_to(checkout)) for path in (*sources, *(checkout / "etc").iterdir())} <= inside

    wheel, said = wheel_of(checkout.parent, sdist, "--verbose", CC=hasty_compiler(checkout.parent))
    assert NO_KERNEL not in said
    installed = contents(wheel)
    assert {name.split("/")[0] for name in installed if ".dist-info/" not in name} == {"carbonquota"}
    assert [name for name in installed if name.endswith(".so")]
    assert [name for name in installed if name.endswith((".pyx", ".c", ".h"))] == []
    assert "(kernel compiled, " in version_installed(checkout.parent, wheel)


def test_without_a_compiler_it_installs_with_the_plain_kernel(checkout: Path) -> None:
    wheel, said = wheel_of(checkout.parent, checkout, "--verbose", CC=NO_COMPILER)
    assert f"{NO_KERNEL}'{NO_COMPILER}' is no C compiler that finds Python.h.{REMEDY}" in said
    assert "Traceback" not in said
    assert "(kernel python, " in version_installed(checkout.parent, wheel)


def test_a_checkout_is_installed_for_working_on_it_without_a_compiler(checkout: Path) -> None:
    assert "(kernel python, " in version_installed(checkout.parent, "--editable", checkout, CC=NO_COMPILER)


@needs_compiler
@pytest.mark.parametrize(
    ("mistake", "reason"),
    [
        ("headers", " is no C compiler that finds Python.h."),
        ("kernel", " it does not compile here: "),
    ],
)
def test_without_python_s_headers_or_with_a_kernel_that_does_not_compile_it_installs_as_well(
    checkout: Path, mistake: str, reason: str
) -> None:
    compiler = shutil.which("cc") or "cc"
    if mistake == "headers":
        compiler += " -nostdinc"
    else:
        (checkout / "carbonquota" / "kernel" / "_cy.pyx").write_text('cdef extern from "missing.h":\n    pass\n')
    wheel, said = wheel_of(checkout.parent, checkout, "--verbose", CC=compiler)
    assert reason in next(line for line in said.splitlines() if NO_KERNEL in line)
    assert [name for name in contents(wheel) if name.endswith(".so")] == []


def test_who_wants_no_extension_gets_a_wheel_for_every_machine(checkout: Path) -> None:
    wheel, said = wheel_of(checkout.parent, checkout, "--verbose", CARBONQUOTA_NO_EXTENSION="1")
    assert wheel.name.endswith("-py3-none-any.whl")
    assert NO_KERNEL not in said


@needs_compiler
def test_in_a_checkout_a_kernel_that_does_not_compile_is_an_error(checkout: Path) -> None:
    (checkout / "carbonquota" / "kernel" / "_cy.pyx").write_text("def what(:\n")
    done = run(checkout, sys.executable, "setup.py", "--quiet", "build_ext", "--inplace")
    assert done.returncode != 0
    assert "_cy.pyx:1:" in done.stderr + done.stdout


def test_in_a_checkout_without_a_compiler_an_earlier_kernel_does_not_stay(checkout: Path) -> None:
    name = run(checkout, sys.executable, "-c", "import sysconfig; print(sysconfig.get_config_var('EXT_SUFFIX'))").stdout
    earlier = checkout / "carbonquota" / "kernel" / f"_cy{name.strip()}"
    earlier.write_bytes(b"outdated")
    done = run(checkout, sys.executable, "setup.py", "--quiet", "build_ext", "--inplace", CC=NO_COMPILER)
    assert (done.returncode, earlier.exists()) == (0, False)
    assert done.stderr.endswith(f"{NO_KERNEL}'{NO_COMPILER}' is no C compiler that finds Python.h.{REMEDY}")


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")
@pytest.mark.parametrize(
    ("changed", "built_anew"),
    [
        ("carbonquota/kernel/_cy.pyx", True),
        ("carbonquota/controls/native/_ledger.h", True),
        ("carbonquota/limiter/native/_table.h", True),
        ("carbonquota/kernel/_new.h", True),
        ("setup.py", True),
        ("carbonquota/kernel/_py.py", False),
        ("README.md", False),
    ],
)
def test_make_builds_the_kernel_anew_when_its_source_changed_and_only_then(
    checkout: Path, changed: str, built_anew: bool
) -> None:
    shutil.copy2(ROOT / "Makefile", checkout)
    shutil.copytree(ROOT / "requirements", checkout / "requirements")
    kernel = checkout / "carbonquota" / "kernel" / "_cy.some-python.so"
    others = [checkout / "carbonquota" / room / "native" / kernel.name for room in ("controls", "limiter")]
    made = [*(checkout / ".venv" / name for name in (".installed", ".tools", ".built")), kernel, *others]
    made[0].parent.mkdir()
    # Times far apart, as what is written within one tick of a file system's clock is no newer.
    for path in [*checkout.rglob("*"), *made]:
        path.touch()
        os.utime(path, (path in made, path in made))
    assert run(checkout, "make", "--question", "venv").returncode == 0
    (checkout / changed).touch()
    planned = run(checkout, "make", "--dry-run", "venv").stdout
    assert ("build_ext" in planned) == built_anew
    assert "pip" not in planned
    kernel.unlink()
    assert "build_ext" in run(checkout, "make", "--dry-run", "venv").stdout


@pytest.fixture
def installed(checkout: Path, tmp_path: Path) -> Path:
    """The program in an empty environment that a wheel was installed into."""
    wheel, _ = wheel_of(tmp_path, checkout, CARBONQUOTA_NO_EXTENSION="1")
    version_installed(tmp_path, wheel)
    return tmp_path / "fresh" / "bin" / "carbonquota"


WHERE = ("--data-dir", "data", "--state-dir", "state", "--user", "graphite")


def test_a_wheel_brings_a_configuration_with_the_paths_of_this_machine(installed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "here"
    written = run(tmp_path, installed, "init", *WHERE, "here")
    assert written.returncode == 0, written.stderr
    assert {path.name for path in folder.iterdir()} == {path.name for path in (ROOT / "etc").iterdir()}
    unit = (folder / "carbonquota.service").read_text()
    for line in (
        f"ExecStart={installed} run --config {folder}/carbonquota.conf",
        "User=graphite\nGroup=graphite",
        f"ReadWritePaths=-{tmp_path / 'data'}",
        f"ReadWritePaths={tmp_path / 'state'}",
    ):
        assert f"\n{line}\n" in unit
    unit = (folder / "carbonquota-limiter.service").read_text()
    start = f"ExecStart={installed} limit --config {folder}/limiter.toml"
    for line in (start, "User=graphite\nGroup=graphite", f"ReadOnlyPaths={folder}"):
        assert f"\n{line}\n" in unit
    assert "/etc/carbonquota" not in unit
    again = run(tmp_path, installed, "init", "here")
    assert (again.returncode, again.stdout) == (1, "")
    assert "is there already, and nothing is overwritten" in again.stderr
    checked = run(tmp_path, installed, "check", "--lint-fatal", "here/carbonquota.conf")
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_a_daemon_runs_from_an_empty_environment(installed: Path, tmp_path: Path) -> None:
    assert run(tmp_path, installed, "init", *WHERE, "here").returncode == 0
    configuration = tmp_path / "here" / "carbonquota.conf"
    configuration.write_text(re.sub(r"127\.0\.0\.1:(2003|2004|8080)", "127.0.0.1:0", configuration.read_text()))
    log = tmp_path / "log"
    with log.open("wb") as output:
        command = [str(installed), "run", "--config", str(configuration)]
        daemon = subprocess.Popen(command, cwd=tmp_path, env=surroundings(), stderr=output)
    try:
        wait_until(lambda: "ready: 0 metrics" in log.read_text(), log.read_text, patience=60)
        (port,) = re.findall(r"plaintext over TCP on 127.0.0.1:(\d+)", log.read_text())
        with socket.create_connection(("127.0.0.1", int(port))) as connection:
            connection.sendall(f"servers.one.load 1 {int(time.time())}\n".encode())
        wait_until((tmp_path / "data" / "servers" / "one" / "load.wsp").exists, log.read_text, patience=60)
    finally:
        daemon.terminate()
        assert daemon.wait(60) == 0, log.read_text()


def test_without_the_extra_the_daemon_says_what_to_install(installed: Path, tmp_path: Path) -> None:
    hidden = tmp_path / "hidden" / "watchdog"
    hidden.mkdir(parents=True)
    (hidden / "__init__.py").write_text("raise ModuleNotFoundError(name='watchdog')")
    (tmp_path / "c.conf").write_text("")
    done = run(tmp_path, installed, "run", "--config", "c.conf", PYTHONPATH=str(hidden.parent))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(
        "carbonquota: the daemon needs the package watchdog, which is not installed: "
    )
