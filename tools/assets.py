"""Put the JavaScript of others into the package, for the pages: `make assets`.

It is no part of this repository: npm gets the packages of these very versions, and what is not as its checksum says is
refused. Without it the pages are whole, too: nothing on them can be done by JavaScript alone.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

TARGET: Final = Path(__file__).parents[1] / "carbonquota" / "web" / "page" / "assets"
_PATIENCE: Final = 60
"""Seconds that npm has for a package."""
_AT_ONCE: Final = ("--silent", "--ignore-scripts", "--fetch-retries=0", "--fetch-timeout=10000")
"""Where there is no network, it is told soon."""


@dataclass(frozen=True, slots=True)
class Package:
    """One package of npm: its version, the checksum of its archive, and the files to take, by where they go."""

    name: str
    version: str
    sha512: str
    files: dict[str, str]


PACKAGES: Final = (
    Package(
        "htmx.org",
        "2.0.8",
        "fm297iru0iWsNJlBrjvtN7V9zjaxd+69Oqjh4F/Vq9Wwi2kFisLcrLCiv5oBX0KLfOX/zG8AUo9ROMU5XUB44Q==",
        {"htmx.min.js": "package/dist/htmx.min.js", "htmx.LICENSE": "package/LICENSE"},
    ),
    Package(
        "uplot",
        "1.6.32",
        "KIMVnG68zvu5XXUbC4LQEPnhwOxBuLyW1AHtpm6IKTXImkbLgkMy+jabjLgSLMasNuGGzQm/ep3tOkyTxpiQIw==",
        {
            "uPlot.iife.min.js": "package/dist/uPlot.iife.min.js",
            "uPlot.min.css": "package/dist/uPlot.min.css",
            "uPlot.LICENSE": "package/LICENSE",
        },
    ),
)


class AssetsError(Exception):
    """A package that cannot be had, or is another one than was meant."""


def pack(npm: str, package: Package, folder: Path) -> Path:
    """Have npm get the archive of a package; the archive."""
    command = [npm, "pack", *_AT_ONCE, f"{package.name}@{package.version}"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        raise AssetsError(f"npm did not get {package.name} within {_PATIENCE} s") from None
    archive = folder / f"{package.name}-{package.version}.tgz"
    if done.returncode or not archive.exists():
        reason = (done.stderr or done.stdout).strip().splitlines()
        raise AssetsError(f"npm cannot get {package.name}: {reason[-1] if reason else 'it does not say why'}")
    return archive


def take(archive: Path, package: Package) -> dict[str, bytes]:
    """The wanted files of an archive; AssetsError where it is another one than was meant."""
    digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if digest != package.sha512:
        raise AssetsError(f"{package.name} {package.version} is not what it should be: its sha512 is {digest}")
    found = {}
    with tarfile.open(archive) as files:
        for name, member in package.files.items():
            file = files.extractfile(member)
            if file is None:
                raise AssetsError(f"{package.name} {package.version} has no file {member}")
            found[name] = file.read()
    return found


def is_there(target: Path) -> bool:
    """Whether these very versions are there already."""
    return (target / "VERSIONS").is_file() and (target / "VERSIONS").read_text() == _versions()


def _versions() -> str:
    return "".join(f"{package.name} {package.version} {package.sha512}\n" for package in PACKAGES)


def put(target: Path) -> None:
    """Put all files where the package has them, once all are there; AssetsError, OSError."""
    npm = shutil.which("npm")
    if npm is None:
        raise AssetsError("there is no npm here")
    with tempfile.TemporaryDirectory() as folder:
        files = {
            name: content
            for package in PACKAGES
            for name, content in take(pack(npm, package, Path(folder)), package).items()
        }
    target.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        # Somebody else may be reading it.
        new = target / f".{name}.{os.getpid()}"
        new.write_bytes(content)
        new.replace(target / name)
    (target / "VERSIONS").write_text(_versions())


def main() -> int:
    """Run the tool; the exit code, 0 with --try in any case."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--try", dest="trying", action="store_true", help="say in one line what goes without them")
    parser.add_argument("--target", type=Path, default=TARGET, help="where to put them")
    options = parser.parse_args()
    if is_there(options.target):
        return 0
    try:
        put(options.target)
    except (AssetsError, OSError) as error:
        rest = "; the pages do without: they are not updated by themselves, and charts cannot be pointed at"
        print(f"assets: {error}{rest if options.trying else ''}", file=sys.stderr)
        return 0 if options.trying else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
