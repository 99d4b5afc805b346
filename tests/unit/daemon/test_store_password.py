"""The password of a cluster's store is shown to nobody, and may stand in a file of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from carbonquota.cluster.prepaid_service import read_password
from carbonquota.cluster.store_url import read_store_url
from carbonquota.daemon.configuration import format_settings, load_settings
from carbonquota.errors import ConfigError, QuotaError
from carbonquota.service.values.masking import masked

SECRET = "hunter2"  # noqa: S105 - made up


def written(folder: Path, cluster: str, mode: int = 0o600) -> Path:
    file = folder / "carbonquota.conf"
    file.write_text(f'[cluster]\nmode = "slices"\n{cluster}\n')
    file.chmod(mode)
    return file


@pytest.mark.parametrize(
    "url",
    [
        f"valkey://:{SECRET}@127.0.0.1:6379",
        f"valkeys://user:{SECRET}@h:1/2",
        f"sentinel://:{SECRET}@a:1,b:2/master",
        f"cluster://u:{SECRET}@a:1,b:2",
    ],
)
def test_what_is_printed_has_stars(tmp_path: Path, url: str) -> None:
    settings, _ = load_settings(written(tmp_path, f'store = "{url}"'))
    printed = format_settings(settings)
    assert SECRET not in printed
    assert url.replace(SECRET, "***") in printed
    assert settings.cluster.store == url


@pytest.mark.parametrize(
    "line",
    [
        f'store = "valkey://:{SECRET}@host:port"',
        f'store = "http://u:{SECRET}@host:1"',
        f'store = "sentinel://u:{SECRET}@host:1"',
        f'store = "cluster://u:{SECRET}@host:x"',
        f'store = "valkey://u:x/{SECRET}@host:1"',
        f'store = "valkey://u:{SECRET}@host:1',
        f'stoer = "valkey://u:{SECRET}@host:1"',
    ],
)
def test_an_error_has_no_password(tmp_path: Path, line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(written(tmp_path, line))
    assert SECRET not in str(caught.value)


def test_a_password_with_a_slash_is_told_how_to_be_written() -> None:
    with pytest.raises(ValueError, match="write these as %2F"):
        read_store_url("valkey://u:a/b@host:1")
    assert read_store_url("cluster://u:a%2Fb@host:1").password == "a/b"  # noqa: S105 - made up


def test_urls_without_a_password_stay() -> None:
    for text in ("valkey://host:1", "valkey://user@host:1", "mail@host:1 and a:b@c"):
        assert masked(text) == text


@pytest.mark.parametrize(("mode", "is_told"), [(0o600, False), (0o640, False), (0o644, True)])
def test_a_file_that_all_can_read_is_told(tmp_path: Path, mode: int, is_told: bool) -> None:
    secret = tmp_path / "password"
    secret.write_text(SECRET)
    secret.chmod(mode)
    for cluster, told in (
        (f'store = "valkey://:{SECRET}@h:1"', "every user of this machine can read this file"),
        (f'store-password-file = "{secret}"', "every user of this machine can read the store's password"),
    ):
        _, notes = load_settings(written(tmp_path, cluster, mode))
        assert any(told in remark for remark in notes.remarks) == is_told


def test_a_password_is_read_from_its_file(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text(f"{SECRET}\n")
    assert (read_password(str(secret)), read_password("")) == (SECRET, "")
    secret.write_text("\n")
    with pytest.raises(QuotaError, match=r"store-password-file: .*: it is empty"):
        read_password(str(secret))
    with pytest.raises(QuotaError, match=r"store-password-file: .*: No such file or directory"):
        read_password(str(tmp_path / "nowhere"))
