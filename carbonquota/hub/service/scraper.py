"""Reads the pages of metrics of providers that do not push.

Every server looks for those that are due, and leaves alone what another has read meanwhile. A provider that cannot be
read is told in the log and grows stale; what it held last stays.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Final
from urllib.request import Request

from carbonquota.errors import QuotaError
from carbonquota.hub.domain.book import Book
from carbonquota.hub.domain.controls import CONTROLS
from carbonquota.hub.domain.errors import InvalidError
from carbonquota.hub.domain.scraping import Owners, read_page
from carbonquota.hub.domain.values import Provider
from carbonquota.hub.service.utilization import Measurement, Utilization
from carbonquota.hub.storage.customers import owned_patterns
from carbonquota.hub.storage.database import Database
from carbonquota.model import Clock
from carbonquota.service.bounded_log import BoundedLog
from carbonquota.service.urls import url_opener

_TIMEOUT: Final = 10.0
"""Seconds that a page may take."""
_MOST: Final = 64 * 1024 * 1024
"""Bytes of a page."""


def fetch(url: str, token_file: str = "") -> str:
    """A page of metrics, asked for with the token in a file, where one is given; InvalidError, OSError."""
    headers = {"Accept": "text/plain;version=0.0.4"}
    if token_file:
        headers["Authorization"] = f"Bearer {_token(token_file)}"
    request = Request(url, headers=headers)  # noqa: S310 - checked to be http or https
    with url_opener(url).open(request, timeout=_TIMEOUT) as answer:
        page = answer.read(_MOST + 1)
    if len(page) > _MOST:
        raise InvalidError(f"the page is larger than {_MOST:,} bytes")
    return str(page, "utf-8", "replace")


def _token(path: str) -> str:
    """The token, read anew each time, as it may be replaced; InvalidError."""
    try:
        return Path(path).read_text(encoding="ascii").strip()
    except (OSError, ValueError) as error:
        raise InvalidError(f"{path}: the token cannot be read: {getattr(error, 'strerror', None) or error}") from None


class Scraper:
    """Reads providers' pages into the utilization."""

    def __init__(
        self,
        database: Database,
        book: Book,
        utilization: Utilization,
        clock: Clock,
        fetch: Callable[[str, str], str] = fetch,
    ) -> None:
        """`fetch` gets the page at a URL, with the token of a file, if there is one."""
        self.token_file = ""
        self._database = database
        self._book = book
        self._utilization = utilization
        self._clock = clock
        self._fetch = fetch
        self._tried: dict[str, float] = {}
        self.failures: Counter[str] = Counter()
        """How often a provider's page could not be read, by its name."""
        self._log = BoundedLog(logging.getLogger(__name__), monotonic)

    def scrape(self) -> None:
        """Read the pages that are due."""
        due = [provider for provider in list(self._book.provider_at.values()) if self._is_due(provider)]
        if not due:
            return
        owners = Owners([])
        if any(provider.kind == "carbonquota" for provider in due):
            with self._database.reading() as connection:
                owners = Owners(owned_patterns(connection))
        for provider in due:
            self._tried[provider.name] = self._clock()
            try:
                self._read(provider, owners)
            except (QuotaError, OSError) as error:
                self.failures[provider.name] += 1
                self._log.warning(provider.name, "provider %s: %s: %s", provider.name, provider.url, error)

    def _is_due(self, provider: Provider) -> bool:
        """Whether nobody has read it for an interval."""
        now = self._clock()
        if provider.kind == "push" or now - self._tried.get(provider.name, 0.0) < provider.interval:
            return False
        number = self._book.providers.get(provider.name, 0)
        with self._book.lock:
            columns = [
                self._book.times.column(number, control)
                for control in range(len(CONTROLS))
                if self._book.times.has(number, control)
            ]
            last = max((float(column.max(initial=0.0)) for column in columns), default=0.0)
        return now - last >= provider.interval

    def _read(self, provider: Provider, owners: Owners) -> None:
        """Read one page."""
        begun = self._clock()
        scraped = read_page(self._fetch(provider.url, self.token_file), provider, owners)
        for control, held in scraped.amounts.items():
            complete = control in scraped.complete
            self._utilization.put(
                Measurement(provider.name, list(held), {control: list(held.values())}, begun, complete)
            )
