"""`storage-schemas.conf` as carbon reads it: what carbon passes over is passed over, and makes no file.

Carbon takes any INI file, ignores keys that it does not know, and goes on without a section that it cannot use. Who
has such a file must still be able to keep quotas, by the sizes that carbon's files really have. What carbon itself
would not start with is an error here, too, but told in one line.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from configparser import ConfigParser
from configparser import Error as ParserError
from typing import Final

from carbon import state
from carbon.util import parseRetentionDef

from carbonquota.errors import ConfigError, Problem
from carbonquota.rules import Retention, Schema, Schemas
from carbonquota.rules.expressions import Expression, ExpressionError, read_expression
from carbonquota.service.rule_source import RuleFiles

_log = logging.getLogger(__name__)

_DEFAULT: Final = (Retention(60, 7 * 24 * 60),)
"""What carbon keeps of a metric without a schema: a week of a point a minute."""


def read_schemas(text: str, files: RuleFiles) -> Schemas:
    """The schemas in the order in which carbon tries them; ConfigError where carbon would not start with them."""
    parser = ConfigParser()
    try:
        parser.read_string(text, files.schemas)
        schemas = list(_schemas(parser, text, files.schemas))
    except ParserError as error:
        raise _unreadable(files.schemas, " ".join(str(error).split())) from None
    factor = files.physical_size_factor
    return Schemas.of(
        schemas,
        files.schemas,
        physical_size_factor=factor,
        sparse=files.sparse,
        default_retentions=_DEFAULT,
        search=files.search,
    )


def warn_of_slow(expressions: Iterable[Expression]) -> None:
    """Name the patterns for which carbon itself may need very long: its writer searches by `re`, whatever we do."""
    for expression in expressions:
        syntax = expression.syntax
        span = syntax and (syntax.nested or syntax.foreign)
        if span:
            part = expression.text[span.offset : span.offset + span.width]
            _log.warning(
                "pattern = %s: carbon itself may need very long to match a new metric by this, and stands still "
                "meanwhile; the costly part is %s (%s)", expression.text, part, span.name)  # fmt: skip


def _schemas(parser: ConfigParser, text: str, source: str) -> Iterator[Schema]:
    """The schemas that carbon uses."""
    for number, line in enumerate(map(str.strip, text.splitlines()), 1):
        # As carbon has it: a heading with something behind it is none.
        if line.startswith("[") and line.endswith("]"):
            name = line[1:-1]
            options = dict(parser.items(name))
            retentions = _retentions(name, options, source)
            pattern = options.get("pattern")
            if pattern and _is_valid(retentions):
                yield Schema(name, _compiled(name, pattern, source), retentions, source=source, line=number)


def _retentions(name: str, options: Mapping[str, str], source: str) -> tuple[Retention, ...]:
    """What a section's metrics keep; nothing where it does not say."""
    written = options.get("retentions")
    if written is None:
        return ()
    try:
        return tuple(Retention(*map(int, parseRetentionDef(retention))) for retention in written.split(","))
    except (ValueError, ZeroDivisionError):
        hint = 'write them as "retentions = 60s:1d, 5m:30d"'
        raise _unreadable(source, f"[{name}]: carbon cannot read retentions = {written}; {hint}") from None


def _is_valid(retentions: tuple[Retention, ...]) -> bool:
    """Whether there are any, and carbon's store can keep them together."""
    if not retentions:
        return False
    try:
        if state.database is not None:
            state.database.validateArchiveList([(kept.seconds_per_point, kept.points) for kept in retentions])
    except ValueError:
        return False
    return True


def _compiled(name: str, pattern: str, source: str) -> Expression:
    try:
        return read_expression(pattern, as_python=True)
    except ExpressionError as error:
        where = "" if error.offset is None else f" at position {error.offset}"
        message = f"[{name}]: pattern = {pattern} is no regular expression: {error.message}{where}"
        raise _unreadable(source, message) from None


def _unreadable(source: str, message: str) -> ConfigError:
    return ConfigError([Problem(source, 0, 0, 0, "", message)])
