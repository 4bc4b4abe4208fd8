"""Files are written whole, under names that nobody foresees, and never through a link."""

import os
import stat
from pathlib import Path

import pytest

from accelsim.errors import AccelSimError, TicketError
from accelsim.files import FileError, probe_folder, removed_if_refused, stamp_of, write_file, write_files
from accelsim.results.model import ResultError
from accelsim.results.store import check_file_place, check_folder_place, own_folder, prepare_folder, remove_runs


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    path = tmp_path / "foreign"
    path.write_text("foreign")
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_planted_link_is_replaced_and_what_it_leads_to_is_left_alone(tmp_path: Path, foreign: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "page.html").symlink_to(foreign)
    write_file(out / "page.html", b"new")
    assert ((out / "page.html").read_bytes(), foreign.read_text()) == (b"new", "foreign")
    assert not (out / "page.html").is_symlink()
    assert names(out) == ["page.html"]


@pytest.mark.parametrize("write", [lambda folder: write_file(folder / "x", b"new"), probe_folder])
def test_a_link_planted_under_the_temporary_name_is_not_followed(tmp_path, foreign, monkeypatch, write) -> None:
    monkeypatch.setattr("secrets.token_hex", lambda _: "guessed")
    planted = tmp_path / ".accelsim-guessed.tmp"
    planted.symlink_to(foreign)
    with pytest.raises((FileError, FileExistsError), match="File exists"):
        write(tmp_path)
    assert foreign.read_text() == "foreign"
    assert names(tmp_path) == [".accelsim-guessed.tmp", "foreign"]


def test_names_of_temporary_files_are_never_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    opened = os.open
    monkeypatch.setattr("os.open", lambda path, flags, mode=0o777: seen.append(path) or opened(path, flags, mode))
    for _ in range(2):
        write_file(tmp_path / ("n" * 255), b"")  # a name as long as names may be
    assert len(set(seen)) == 2


def test_all_files_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_file(tmp_path / "old", b"old")
    with pytest.raises(TicketError, match="cannot be written .*; give a place you may write"):
        write_files([(tmp_path / "old", b"new"), (tmp_path / "none" / "b", b"")], TicketError)
    assert (tmp_path / "old").read_bytes() == b"old"

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_file(tmp_path / "old", b"new")
    assert names(tmp_path) == ["old"]


def test_permissions_are_those_of_the_user(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_file(tmp_path / "x", b"")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o640


def test_folders_of_a_comparison_are_not_taken_through_links(tmp_path: Path) -> None:
    victim = tmp_path / "victim" / "run"
    victim.mkdir(parents=True)
    (victim / "summary.json").write_text("{}")
    runs = tmp_path / "runs"
    runs.mkdir()
    (runs / "000-net-slt").symlink_to(victim)
    remove_runs(runs)
    with pytest.raises(ResultError, match="000-net-slt: is a link"):
        own_folder(runs / "000-net-slt")
    (tmp_path / "other").symlink_to(victim.parent)
    with pytest.raises(ResultError, match="other: is a link"):
        remove_runs(tmp_path / "other")
    assert names(victim) == ["summary.json"]


def test_places_are_checked_without_making_them(tmp_path: Path, foreign: Path) -> None:
    assert check_folder_place(tmp_path / "a" / "b") == tmp_path / "a" / "b"
    for check in (check_folder_place, prepare_folder):
        with pytest.raises(ResultError, match="foreign: is a file, not a folder"):
            check(foreign)
        with pytest.raises(ResultError, match="cannot be written"):
            check(foreign / "below")
        with pytest.raises(ResultError, match="File name too long"):
            check(tmp_path / ("n" * 300))
    with pytest.raises(ResultError, match="--out: .*cannot be written .File name too long"):
        check_file_place(tmp_path / ("n" * 300), "--out")
    assert names(tmp_path) == ["foreign"]


def test_what_was_refused_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(AccelSimError), removed_if_refused(tmp_path / "a" / "b", TicketError):
        (tmp_path / "a" / "b").mkdir(parents=True)
        raise TicketError("no")
    assert names(tmp_path) == []
    with pytest.raises(AccelSimError), removed_if_refused(tmp_path / "a", TicketError):
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / "kept").touch()
        raise TicketError("no")
    assert names(tmp_path / "a") == ["kept"]


def test_the_stamp_follows_the_text_of_each_file(tmp_path):
    one, two = tmp_path / "one.py", tmp_path / "two.py"
    stamps = set()
    for texts in (("a", "b"), ("a", "c"), ("d", "c")):
        one.write_text(texts[0])
        two.write_text(texts[1])
        stamps.add(stamp_of([one, two]))
    assert len(stamps) == 3
