import sqlite3

import pytest

from accelsim.dse.store import ResultStore, StoreError


def test_rows_are_written_once_and_read_back(tmp_path):
    with ResultStore(tmp_path / "a.sqlite") as store:
        store.put([("k1", {"status": "ok", "latency_s": 0.1}), ("k2", {"status": "failed", "reason": "x"})])
        store.put([("k1", {"status": "ok", "latency_s": 0.2})])

    with ResultStore(tmp_path / "a.sqlite") as store:
        assert store.get(["k1", "k3"]) == {"k1": {"status": "ok", "latency_s": 0.1}}
        assert store.count() == 2


def test_two_open_stores_see_each_others_rows(tmp_path):
    with ResultStore(tmp_path / "a.sqlite") as one, ResultStore(tmp_path / "a.sqlite") as other:
        one.put([(f"k{index}", {"status": "ok"}) for index in range(700)])
        other.put([("more", {"status": "ok"})])

        assert len(other.get([f"k{index}" for index in range(700)])) == 700
        assert one.count() == 701


def test_another_database_or_no_database_is_refused(tmp_path):
    foreign = sqlite3.connect(tmp_path / "foreign.sqlite")
    foreign.execute("CREATE TABLE t (x)")
    foreign.commit()
    foreign.close()
    (tmp_path / "text").write_text("not a database, but long enough to be looked at as one" * 20)

    with pytest.raises(StoreError, match="is a database of another program"):
        ResultStore(tmp_path / "foreign.sqlite")
    with pytest.raises(StoreError, match="cannot be used as a store"):
        ResultStore(tmp_path / "text")
    with pytest.raises(StoreError, match="cannot be used as a store"):
        ResultStore(tmp_path / "missing" / "a.sqlite")
