"""Names of strangers in the tables of a sweep."""

import pandas as pd

from accelsim.dse.export import write_tables


def test_a_name_is_no_formula_in_the_csv_and_as_it_was_in_the_parquet(tmp_path):
    names = pd.Series(["=HYPERLINK(1)", "-1", None, "edge"], dtype="string")
    write_tables(tmp_path, pd.DataFrame({"workload": names, "n": [-1, 2, 3, 4]}))
    text = (tmp_path / "results.csv").read_text()
    assert text.splitlines() == ["workload,n", "'=HYPERLINK(1),-1", "'-1,2", ",3", "edge,4"]
    assert pd.read_parquet(tmp_path / "results.parquet")["workload"].tolist()[:2] == ["=HYPERLINK(1)", "-1"]
