"""Runs Python on a kernel that stops at what C lets pass: `sanitized.py -m pytest tests/unit/kernel`.

The package is copied and its kernel built anew, with AddressSanitizer and UndefinedBehaviourSanitizer; the command runs
in that copy, on that kernel and no other, and its exit code is that of all. Needs gcc with its sanitizers' libraries.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
NEEDED = ["carbonquota", "tests", "tools", "setup.py", "setup.cfg", "pyproject.toml", "README.md", "LICENSE"]
LIBRARIES = {"libasan.so": True, "libubsan.so": True, "libstdc++.so.6": False}
"""What the interpreter must load before all else, and whether nothing goes without it."""

# What is still allocated at the end is the interpreter's.
OPTIONS = "detect_leaks=0:detect_stack_use_after_return=1:print_stacktrace=1:halt_on_error=1"
WHICH_KERNEL = "from carbonquota.kernel import KERNEL, _cy; print(KERNEL, _cy.__file__)"
OVERFLOW = "import ctypes; ctypes.memset(ctypes.create_string_buffer(8), 0, 800)"


def main() -> None:
    """Build, make sure that it is what it should be, and run the command."""
    with tempfile.TemporaryDirectory(prefix="sanitized-") as name:
        folder = Path(name).resolve()
        print("Building the kernel with sanitizers ...", flush=True)
        kernel = build(folder)
        environment = surroundings(folder)
        make_sure(folder, kernel, environment)
        done = subprocess.run([sys.executable, *sys.argv[1:]], cwd=folder, env=environment, check=False)
    sys.exit(done.returncode)


def build(folder: Path) -> Path:
    """The kernel's file, built from a copy of the project in this folder."""
    skip = shutil.ignore_patterns("*.so", "__pycache__")
    for name in NEEDED:
        source, copy = ROOT / name, folder / name
        shutil.copytree(source, copy, ignore=skip) if source.is_dir() else shutil.copy2(source, copy)
    command = [sys.executable, "setup.py", "--quiet", "build_ext", "--inplace", "--sanitize"]
    subprocess.run(command, cwd=folder, check=True)
    built = list((folder / "carbonquota" / "kernel").glob("_cy.*.so"))
    if not built:
        sys.exit("sanitized.py: the compiled kernel cannot be built here")
    return built[0]


def surroundings(folder: Path) -> dict[str, str]:
    """The environment in which that kernel is the one to run, and the sanitizers see all of it."""
    return os.environ | {
        "CARBONQUOTA_KERNEL": "compiled",
        "EXAMPLES_SHARE": os.environ.get("EXAMPLES_SHARE", "0.4"),
        "PYTHONPATH": str(folder),
        "PYTHONMALLOC": "malloc",
        # Else a report, which is the last that the process does, would end where pytest keeps what it captured.
        "PYTEST_ADDOPTS": "--capture=sys",
        "LD_PRELOAD": " ".join(libraries()),
        "ASAN_OPTIONS": OPTIONS,
        "UBSAN_OPTIONS": OPTIONS,
    }


def libraries() -> list[str]:
    """Where the compiler has its sanitizers' libraries."""
    compiler = (os.environ.get("CC") or sysconfig.get_config_var("CC")).split()
    found = []
    for library, needed in LIBRARIES.items():
        asked = subprocess.run([*compiler, f"-print-file-name={library}"], capture_output=True, text=True, check=True)
        # A compiler that has no such library answers with the bare name.
        path = Path(asked.stdout.strip())
        if path.is_absolute():
            found.append(str(path.resolve()))
        elif needed:
            sys.exit(f"sanitized.py: {compiler[0]} has no {library}; gcc's packages bring it: make sanitize CC=gcc")
    return found


def make_sure(folder: Path, kernel: Path, environment: dict[str, str]) -> None:
    """Leave unless the sanitized kernel is the one in use, and an overflow ends the process and is reported."""
    asked = [sys.executable, "-c", WHICH_KERNEL]
    answer = subprocess.run(asked, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if answer.stdout != f"compiled {kernel}\n" or b"__asan_init" not in kernel.read_bytes():
        sys.exit(f"sanitized.py: expected the sanitized kernel, found: {answer.stdout}{answer.stderr}")
    planted = [sys.executable, "-c", OVERFLOW]
    ended = subprocess.run(planted, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if not ended.returncode or "heap-buffer-overflow" not in ended.stderr:
        sys.exit("sanitized.py: an overflow goes unnoticed, so that a run would prove nothing")


if __name__ == "__main__":
    main()
