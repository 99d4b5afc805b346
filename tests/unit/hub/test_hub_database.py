"""Databases that cannot be: one error each, with the place and what mends it."""

from __future__ import annotations

from pathlib import Path

import pytest

from carbonquota.hub.domain.errors import HubError
from carbonquota.hub.storage.database import Database
from tests.support.hub import open_hub

CASES = {
    "sqlite:////proc/no/x.db": "the folder of the database /proc/no/x.db cannot be made: No such file or directory: "
    "give another file",
    "sqlite:///{folder}": "the database {folder} is a folder: give a file in it",
    "sqlite:///{folder}/text": "the database cannot be used (file is not a database): is it another file?",
    "sqlite://": "'sqlite' is no database: give sqlite:///path/to/file or postgresql://user:password@host/name",
    "mysql://u:secret@h/n": "'mysql' is no database: give sqlite:///path/to/file or "
    "postgresql://user:password@host/name",
}


@pytest.mark.parametrize(("url", "told"), list(CASES.items()))
def test_a_database_that_cannot_be_is_one_clear_error(url: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("[team.*]\nmetrics = 1\n" * 100)
    with pytest.raises(HubError) as error:
        open_hub(url.format(folder=tmp_path))
    assert str(error.value) == told.format(folder=tmp_path)


def test_a_file_is_made_with_its_folder_and_it_is_told_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    hub = open_hub("sqlite:///some/folder/x.db")
    assert hub.database.place == f"{tmp_path}/some/folder/x.db, which is new"
    hub.close()
    assert Database("sqlite:///some/folder/x.db").place == f"{tmp_path}/some/folder/x.db"
    assert Database("postgresql://quota:secret@db.example/quota").place == "postgresql://quota:***@db.example/quota"
