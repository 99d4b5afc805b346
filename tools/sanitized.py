"""Runs Python on a kernel that stops at what C lets pass: `sanitized.py -m pytest tests/unit/kernel`.

The package is copied and its kernel built anew, with AddressSanitizer and UndefinedBehaviourSanitizer, or, with
`--threads` before the command, with ThreadSanitizer. The command runs in that copy, on that kernel and no other, and
its exit code is that of all. Needs gcc with its sanitizers' libraries.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
NEEDED = ["carbonquota", "tests", "tools", "setup.py", "setup.cfg", "pyproject.toml", "README.md", "LICENSE"]
# What is still allocated at the end is the interpreter's.
OPTIONS = "detect_leaks=0:detect_stack_use_after_return=1:print_stacktrace=1:halt_on_error=1"
WHICH_KERNEL = "from carbonquota.kernel import KERNEL, _cy; print(KERNEL, _cy.__file__)"
OVERFLOW = "import ctypes; ctypes.memset(ctypes.create_string_buffer(8), 0, 800)"
RACE = """
import ctypes, threading
memory = ctypes.create_string_buffer(8)
threads = [threading.Thread(target=lambda: [ctypes.memset(memory, 0, 8) for _ in range(20_000)]) for _ in range(2)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


@dataclass(frozen=True, slots=True)
class Sanitizer:
    """What a kernel is built with."""

    build: str
    """What `setup.py build_ext --sanitize` calls it."""
    libraries: dict[str, bool]
    """What the interpreter must load before all else, and whether nothing goes without it."""
    symbol: bytes
    """That a kernel built with it has."""
    options: dict[str, str]
    """For the environment."""
    planted: str
    """A program with a fault that is to be found."""
    report: str
    """What is then said."""


MEMORY = Sanitizer(
    "memory",
    {"libasan.so": True, "libubsan.so": True, "libstdc++.so.6": False},
    b"__asan_init",
    {"ASAN_OPTIONS": OPTIONS, "UBSAN_OPTIONS": OPTIONS},
    OVERFLOW,
    "heap-buffer-overflow",
)
THREADS = Sanitizer(
    "threads",
    {"libtsan.so": True, "libstdc++.so.6": False},
    b"__tsan_init",
    {"TSAN_OPTIONS": "halt_on_error=0:exitcode=66:history_size=4", "OPENBLAS_NUM_THREADS": "1"},
    RACE,
    "data race",
)


def main() -> None:
    """Build, make sure that it is what it should be, and run the command."""
    command = sys.argv[1:]
    sanitizer = THREADS if command[:1] == ["--threads"] else MEMORY
    command = command[sanitizer is THREADS :]
    with tempfile.TemporaryDirectory(prefix="sanitized-") as name:
        folder = Path(name).resolve()
        print("Building the kernel with sanitizers ...", flush=True)
        kernel = build(folder, sanitizer)
        environment = surroundings(folder, sanitizer)
        make_sure(folder, kernel, environment, sanitizer)
        done = subprocess.run([sys.executable, *command], cwd=folder, env=environment, check=False)
    sys.exit(done.returncode)


def build(folder: Path, sanitizer: Sanitizer) -> Path:
    """The kernel's file, built from a copy of the project in this folder."""
    skip = shutil.ignore_patterns("*.so", "__pycache__")
    for name in NEEDED:
        source, copy = ROOT / name, folder / name
        shutil.copytree(source, copy, ignore=skip) if source.is_dir() else shutil.copy2(source, copy)
    command = [sys.executable, "setup.py", "--quiet", "build_ext", "--inplace", f"--sanitize={sanitizer.build}"]
    subprocess.run(command, cwd=folder, check=True)
    built = list((folder / "carbonquota" / "kernel").glob("_cy.*.so"))
    if not built:
        sys.exit("sanitized.py: the compiled kernel cannot be built here")
    return built[0]


def surroundings(folder: Path, sanitizer: Sanitizer) -> dict[str, str]:
    """The environment in which that kernel is the one to run, and the sanitizers see all of it."""
    return (
        os.environ
        | sanitizer.options
        | {
            "CARBONQUOTA_KERNEL": "compiled",
            "EXAMPLES_SHARE": os.environ.get("EXAMPLES_SHARE", "0.4"),
            "PYTHONPATH": str(folder),
            "PYTHONMALLOC": "malloc",
            # Else a report, which is the last that the process does, would end where pytest keeps what it captured.
            "PYTEST_ADDOPTS": "--capture=sys",
            "LD_PRELOAD": " ".join(libraries(sanitizer)),
        }
    )


def libraries(sanitizer: Sanitizer) -> list[str]:
    """Where the compiler has its sanitizers' libraries."""
    compiler = (os.environ.get("CC") or sysconfig.get_config_var("CC")).split()
    found = []
    for library, needed in sanitizer.libraries.items():
        asked = subprocess.run([*compiler, f"-print-file-name={library}"], capture_output=True, text=True, check=True)
        # A compiler that has no such library answers with the bare name.
        path = Path(asked.stdout.strip())
        if path.is_absolute():
            found.append(str(path.resolve()))
        elif needed:
            sys.exit(f"sanitized.py: {compiler[0]} has no {library}; gcc's packages bring it: make sanitize CC=gcc")
    return found


def make_sure(folder: Path, kernel: Path, environment: dict[str, str], sanitizer: Sanitizer) -> None:
    """Leave unless the sanitized kernel is the one in use, and a fault ends the process badly and is reported."""
    asked = [sys.executable, "-c", WHICH_KERNEL]
    answer = subprocess.run(asked, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if answer.stdout != f"compiled {kernel}\n" or sanitizer.symbol not in kernel.read_bytes():
        sys.exit(f"sanitized.py: expected the sanitized kernel, found: {answer.stdout}{answer.stderr}")
    planted = [sys.executable, "-c", sanitizer.planted]
    ended = subprocess.run(planted, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if not ended.returncode or sanitizer.report not in ended.stderr:
        sys.exit("sanitized.py: a planted fault goes unnoticed, so that a run would prove nothing")


if __name__ == "__main__":
    main()
