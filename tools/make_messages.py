"""Write the Python of `proto/` into the package: run after each change of a .proto file."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
PROTO: Final = ROOT / "proto"
MADE: Final = {"carbonquota/hub/v1/hub_pb2": "carbonquota/client/messages/hub_pb2"}
"""What the compiler writes, and where it stands in the package."""


def main() -> None:
    """Write all of it."""
    for path, text in made().items():
        path.write_text(text)


def made() -> dict[Path, str]:
    """The files as they should be."""
    with tempfile.TemporaryDirectory() as folder:
        sources = [str(PROTO / f"{name.removesuffix('_pb2')}.proto") for name in MADE]
        out = (f"--python_out={folder}", f"--pyi_out={folder}")
        subprocess.run([sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTO}", *out, *sources], check=True)
        return {
            ROOT / f"{place}{kind}": (Path(folder) / f"{name}{kind}").read_text()
            for name, place in MADE.items()
            for kind in (".py", ".pyi")
        }


if __name__ == "__main__":
    main()
