"""`carbonquota init`: the files of `etc/` written to where a new daemon is to find them, with this machine's paths."""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import click

import carbonquota
from carbonquota.errors import InputError

_CONFIGURATION: Final = "carbonquota.conf"
_UNIT: Final = "carbonquota.service"
_OTHER_UNITS: Final = ("carbonquota-hub.service", "carbonquota-limiter.service")
"""Those of the quota service and of the rate limiter."""
_PLACE: Final = "/etc/carbonquota"
"""Where units look for a configuration, unless told otherwise."""
_HOMES: Final = ("/home", "/root", "/run/user")


@click.command()
@click.option("--data-dir", default="/var/lib/graphite/whisper", show_default=True, help="Where Whisper files are.")
@click.option("--state-dir", default="/var/lib/carbonquota", show_default=True, help="Where state and spool are.")
@click.option("--user", default="carbon", show_default=True, help="Whom the systemd unit runs the daemon as.")
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
def command(*, data_dir: str, state_dir: str, user: str, directory: Path) -> None:
    """Write a configuration to start from into DIRECTORY, which is made: nothing that is there is overwritten.

    These are carbonquota.conf, quotas, schemas and aggregation; limiter.toml and limits.yaml for the rate limiter;
    systemd units with the path of this program, dashboards for Grafana and alerts for Prometheus.
    """
    folder = directory.absolute()
    paths = {"data": str(Path(data_dir).absolute()), "state": str(Path(state_dir).absolute())}
    texts = {path.name: path.read_text(encoding="utf-8") for path in sorted(_examples().iterdir()) if path.is_file()}
    texts[_CONFIGURATION] = _configuration(texts[_CONFIGURATION], paths)
    texts[_UNIT] = _unit(texts[_UNIT], folder, paths, user)
    for name in _OTHER_UNITS:
        texts[name] = _other_unit(texts[name], folder, user)
    _write(folder, texts)
    for name in texts:
        click.echo(folder / name)
    configuration = folder / _CONFIGURATION
    click.echo(f"now look through {configuration}, and then: {_program()} run --config {configuration}")


def _examples() -> Path:
    """Where the files of `etc/` are: in the package as it is installed, beside it in a checkout."""
    package = Path(carbonquota.__file__).parent
    for folder in (package / "etc", package.parent / "etc"):
        if (folder / _CONFIGURATION).is_file():
            return folder
    raise InputError("the example files are missing in this installation: install carbonquota anew")


def _program() -> Path:
    """The command that runs, as a service manager has to call it."""
    installed = Path(sysconfig.get_path("scripts"), "carbonquota")
    return installed if installed.is_file() else Path(sys.argv[0]).absolute()


def _configuration(text: str, paths: Mapping[str, str]) -> str:
    return (
        text.replace('"../var/whisper"', _quoted(paths["data"]))
        .replace('"../var/spool"', _quoted(f"{paths['state']}/spool"))
        .replace('"../var/state"', _quoted(paths["state"]))
    )


def _quoted(path: str) -> str:
    """A TOML string; ruled out are characters that no path of an installation has."""
    if any(character in '"\\' or not character.isprintable() for character in path):
        raise InputError(f"{path!r} cannot be written into a configuration: choose a path without quotes")
    return f'"{path}"'


def _unit(text: str, folder: Path, paths: Mapping[str, str], user: str) -> str:
    """The systemd unit, filled in."""
    return "\n".join(_unit_line(line, folder, paths, user) for line in text.splitlines()) + "\n"


def _other_unit(text: str, folder: Path, user: str) -> str:
    """That of a service which writes nothing but what systemd gives it."""
    home = "read-only" if _is_home() else "true"
    text = (
        text.replace("/usr/bin/carbonquota", str(_program()))
        .replace("User=carbon\nGroup=carbon\n", f"User={user}\nGroup={user}\n")
        .replace("ProtectHome=true", f"ProtectHome={home}")
    )
    if folder == Path(_PLACE):
        return text
    text = text.replace(f"{_PLACE}/", f"{folder}/").replace(f"in {_PLACE}.", f"in {folder}.")
    return text.replace("ConfigurationDirectory=carbonquota\n", f"ReadOnlyPaths={folder}\n")


def _is_home() -> bool:
    """Whether the program itself lies where ProtectHome would hide it."""
    return any(Path(_program()).is_relative_to(home) for home in _HOMES)


def _unit_line(line: str, folder: Path, paths: Mapping[str, str], user: str) -> str:
    key = line.partition("=")[0]
    filled = {
        "User": f"User={user}",
        "Group": f"Group={user}",
        "ExecStart": f"ExecStart={_program()} run --config {folder / _CONFIGURATION}",
        "ReadWritePaths": f"ReadWritePaths=-{paths['data']}",
        # Else the program itself would be out of its own reach.
        "ProtectHome": "ProtectHome=read-only" if _is_home() else line,
    }
    if paths["state"] != "/var/lib/carbonquota":
        filled["StateDirectory"] = f"ReadWritePaths={paths['state']}"
        filled["StateDirectoryMode"] = "# The state directory is to be made by hand, and to belong to the user."
    if folder != Path(_PLACE):
        filled["ConfigurationDirectory"] = f"ReadOnlyPaths={folder}"
    return filled.get(key, line)


def _write(folder: Path, texts: Mapping[str, str]) -> None:
    """Write all of them, or none; InputError where one is there already, or cannot be written."""
    there = [name for name in texts if (folder / name).exists()]
    if there:
        raise InputError(
            f"{folder / there[0]} is there already, and nothing is overwritten: name another directory, or move it away"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            with (folder / name).open("x", encoding="utf-8") as file:
                file.write(text)
    except OSError as error:
        raise InputError(f"{error.filename}: cannot be written: {(error.strerror or str(error)).lower()}") from None
