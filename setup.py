"""Builds the compiled kernel: its tables, and the decision over them. All else stands in pyproject.toml.

Nobody is kept from installing: where there is no C compiler, or it will not do, the package works on its plain kernel,
and one line says so. Only `setup.py build_ext --inplace`, by which a checkout is built, takes a mistake in the kernel's
own source for an error, since there a kernel that is left out would go unnoticed.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
from pathlib import Path
from typing import ClassVar

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py
from setuptools.errors import CompileError

sys.path.insert(0, str(Path(__file__).parent))
from carbonquota.control import CAPACITIES

CONTROLS = Path("carbonquota/control.py")
KERNEL = Path("carbonquota/kernel")
EXAMPLES = Path("etc")
DECISION = Path("carbonquota/controls/native")
LIMITS = Path("carbonquota/limiter/native")
STANDARD = ["-std=c11", "-fvisibility=hidden"]
OPTIMISED = [*STANDARD, "-O3"]
# Python's own flags have -fwrapv, which would hide what overflows, and -DNDEBUG, which would hide assertions.
SANITIZERS = {
    "memory": ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-wrapv"],
    "threads": ["-fsanitize=thread", "-Wno-tsan"],
}
"""By what they watch; the two cannot be had at once."""
WATCHED = [*STANDARD, "-O1", "-g", "-UNDEBUG", "-U_FORTIFY_SOURCE", "-fno-omit-frame-pointer"]
REMEDY = "The plain kernel takes its place: slower, else the same."


class BuildKernel(build_ext):
    """Builds the kernel where that can be done, and else says in one line what goes without it."""

    user_options: ClassVar = [*build_ext.user_options, ("sanitize=", None, "have its `memory` or `threads` watched")]

    def initialize_options(self) -> None:
        """Keep the C that Cython writes out of the source."""
        super().initialize_options()
        self.sanitize = ""
        self.is_left_out = False
        self.cython_c_in_temp = True

    def run(self) -> None:
        """Note whether this is a checkout's own build: the call below forgets it for a while."""
        self.is_checkout = bool(self.inplace) and not self.editable_mode
        super().run()

    def build_extension(self, ext: Extension) -> None:
        """Build one part of the kernel, or leave all of it out: a part is of no use without the others."""
        if self.is_left_out:
            return
        lacking = self._what_is_lacking()
        try:
            if not lacking:
                watch = SANITIZERS[self.sanitize] if self.sanitize else []
                ext.extra_compile_args = [*WATCHED, *watch] if watch else OPTIMISED
                ext.extra_link_args = watch
                super().build_extension(ext)
        except Exception as error:  # whatever Cython and compilers may say, there is a kernel without them
            if self.is_checkout:
                raise
            lacking = f"it does not compile here: {error}"
        if lacking:
            self._leave_out(lacking)

    def _what_is_lacking(self) -> str:
        """What it takes to build, and is not to be had; empty if it is all there."""
        if importlib.util.find_spec("Cython") is None:
            return "there is no Cython here"
        with tempfile.TemporaryDirectory() as folder:
            probe = Path(folder, "probe.c")
            probe.write_text("#include <Python.h>\n")
            try:
                self.compiler.compile([str(probe)], output_dir=folder)
            except CompileError:
                return f"{self.compiler.compiler[0]!r} is no C compiler that finds Python.h"
        return ""

    def _leave_out(self, reason: str) -> None:
        """Say that there will be no compiled kernel, and see to it that an earlier one does not stay instead."""
        self.is_left_out = True
        for ext in self.extensions:
            Path(self.get_ext_fullpath(ext.name)).unlink(missing_ok=True)
            if self.is_checkout:
                Path(self.get_ext_filename(ext.name)).unlink(missing_ok=True)
        sys.stderr.write(f"carbonquota: no compiled kernel: {reason}. {REMEDY}\n")


class BuildWithExamples(build_py):
    """Puts the files of etc/ into the package, for `carbonquota init`; a checkout has them beside it."""

    def run(self) -> None:
        """Copy them behind all else."""
        super().run()
        if not self.editable_mode:
            for source, target in self._examples().items():
                self.mkpath(str(Path(target).parent))
                self.copy_file(source, target)

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:  # noqa: FBT001, FBT002 - as setuptools has it
        """Name them, too."""
        return [*super().get_outputs(include_bytecode), *self._examples().values()]

    def _examples(self) -> dict[str, str]:
        """Where each comes from, and goes to."""
        target = Path(self.build_lib, "carbonquota", "etc")
        return {str(path): str(target / path.name) for path in sorted(EXAMPLES.iterdir()) if path.is_file()}


def extensions() -> list[Extension]:
    """The kernel and the decision, unless whoever builds asks to go without: then the wheel is for every machine."""
    if os.environ.get("CARBONQUOTA_NO_EXTENSION", "0") not in {"", "0"}:
        return []
    return [extension(KERNEL, []), extension(DECISION, [KERNEL]), extension(LIMITS, [KERNEL])]


def extension(folder: Path, below: list[Path]) -> Extension:
    """The extension of a folder, which uses headers and classes of the folders below it, and nothing of any other."""
    folders = [folder, *below]
    depends = [
        str(path) for suffix in ("pxd", "pxi", "h") for one in folders for path in sorted(one.glob(f"*.{suffix}"))
    ]
    name = ".".join((*folder.parts, "_cy"))
    # How many controls there are is said in one place only.
    macros: list[tuple[str, str | None]] = [("CQ_CAPACITIES", str(len(CAPACITIES)))] if folder == DECISION else []
    return Extension(
        name,
        [str(folder / "_cy.pyx")],
        depends=[*depends, *([str(CONTROLS)] if macros else [])],
        include_dirs=list(map(str, folders)),
        define_macros=macros,
        optional=True,
    )


setup(ext_modules=extensions(), cmdclass={"build_ext": BuildKernel, "build_py": BuildWithExamples})
