"""The commands: carbon's own scripts with quotas, so that all they take and print is theirs.

Nothing heavy is imported before carbon has read its options: the choice of a reactor is among these.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable
from configparser import Error as ConfigParserError
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from carbonquota.errors import QuotaError

_STOCK: Final = "/opt/graphite"
"""Where carbon puts itself unless it is told otherwise."""


def cache() -> None:
    """`carbonquota-carbon-cache`."""
    _run("carbon-cache")


def relay() -> None:
    """`carbonquota-carbon-relay`."""
    _run("carbon-relay")


def aggregator() -> None:
    """`carbonquota-carbon-aggregator`."""
    _run("carbon-aggregator")


def aggregator_cache() -> None:
    """`carbonquota-carbon-aggregator-cache`."""
    _run("carbon-aggregator-cache")


def _run(program: str) -> None:
    """Run one of carbon's programs to its end."""
    # No matrix is multiplied here, and the threads that numpy would begin for it look for work in vain.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Carbon's messages were generated for a protobuf before 4; a later one takes them only without its parser in C.
    os.environ.setdefault("PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION", "python")
    script = Path(sys.argv[0]).absolute().with_name(f"{program}.py")
    _find_carbon(script.parent.parent)
    try:
        util, exceptions = import_module("carbon.util"), import_module("carbon.exceptions")
        import_module("carbon.conf")
    except ModuleNotFoundError as error:
        version = platform.python_version()
        raise SystemExit(
            f"carbon cannot run with Python {version}: {error}; carbon 1.1.10 takes Python 3.11 and older"
        ) from None
    _wrap(program)
    try:
        util.run_twistd_plugin(str(script))
    except (exceptions.CarbonConfigException, ConfigParserError) as error:
        raise SystemExit(" ".join(str(error).split())) from None


def _find_carbon(prefix: Path) -> None:
    """Have carbon importable, and its files looked for where its own scripts would: below the root it stands in."""
    for root in (os.environ.get("GRAPHITE_ROOT"), str(prefix), _STOCK):
        library = Path(root or "") / "lib"
        if find_spec("carbon") is None and root and (library / "carbon").is_dir():
            sys.path.insert(0, str(library))
    spec = find_spec("carbon")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(
            "carbon is not installed: pip install 'carbonquota[carbon]', or set GRAPHITE_ROOT to where it is"
        )
    library = Path(next(iter(spec.submodule_search_locations))).parent
    if library.name == "lib":
        os.environ.setdefault("GRAPHITE_ROOT", str(library.parent))


def _wrap(program: str) -> None:
    """Have the service that twistd makes for a program come with quotas."""
    module = import_module(f"twisted.plugins.{program.replace('-', '_')}_plugin")
    maker = module.serviceMaker
    maker.makeService = _with_quotas(maker.makeService)


def _with_quotas(make_service: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """What makes carbon's service, and puts quotas into it if its configuration asks for them."""

    def make(options: Any) -> Any:  # noqa: ANN401 - twisted's options and carbon's service have no types
        try:
            settings = _read_settings(options)
            if settings is None:
                return make_service(options)
            quotas = import_module("carbonquota.plugins.install")
            # First, as carbon tells less clearly what is wrong with its schemas.
            quotas.check(settings, options.parent)
            service = make_service(options)
            quotas.install(service, settings, options.parent)
        except QuotaError as error:
            raise SystemExit(str(error)) from None
        return service

    return make


def _read_settings(options: Any) -> Any:  # noqa: ANN401 - see above, and what they are read with is not imported yet
    """The quota settings of carbon's configuration, or None; ConfigError where there is something wrong with them."""
    carbon_settings = import_module("carbon.conf").settings
    return import_module("carbonquota.plugins.settings").read_settings(carbon_settings, options["config"])
