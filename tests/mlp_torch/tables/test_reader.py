"""Files are read as they are, and what cannot be read is said in one line with the row."""

import gzip
import pickle

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlp_torch.errors import UserError
from mlp_torch.tables.delimited import place
from mlp_torch.tables.kinds import numbers
from mlp_torch.tables.reader import read_chunks
from mlp_torch.tables.table import Table, read_table

NUMBERS = st.floats(allow_nan=False, allow_infinity=False, width=32)
WORDS = st.text("abcXYZ äß,;\"'", min_size=1, max_size=9).filter(lambda w: w.strip() == w)


@given(
    st.lists(st.tuples(NUMBERS, WORDS, st.integers(-9, 9)), min_size=2, max_size=23),
    st.sampled_from(["csv", "tsv", "csv.gz", "parquet"]),
)
@settings(max_examples=60, deadline=None)
def test_a_table_is_read_back_as_it_was_written(tmp_path_factory, rows, suffix):
    frame = pl.DataFrame(rows, schema={"x": pl.Float64, "word": pl.String, "n": pl.Int64}, orient="row")
    path = tmp_path_factory.mktemp("t") / f"t.{suffix}"
    if suffix == "parquet":
        frame.write_parquet(path)
    else:
        text = frame.write_csv(separator="\t" if suffix == "tsv" else ",", quote_style="non_numeric").encode()
        path.write_bytes(gzip.compress(text) if suffix.endswith("gz") else text)
    table = read_table(path)
    assert table.column("x").to_list() == frame["x"].to_list()
    assert table.column("word").to_list() == frame["word"].to_list()
    assert table.column("n").to_list() == frame["n"].to_list()


@pytest.mark.parametrize("in_memory", [2**30, 1])
def test_chunks_give_the_whole_table_in_order_in_memory_and_on_disk(tmp_path, in_memory):
    frame = pl.DataFrame({"i": range(1009), "word": [f"w{i % 7}" for i in range(1009)]})
    frame.write_csv(tmp_path / "t.csv")
    table = Table("t", in_memory)
    for chunk in read_chunks(tmp_path / "t.csv", rows=101):
        table.add(chunk)
    assert len(table) == 1009
    assert table.column("i").to_list() == list(range(1009))
    assert pl.concat([c.with_columns(pl.col("i").cast(pl.Int64)) for c in table.chunks()])["i"].to_list() == (
        table.column("i").to_list()
    )
    assert table.column("word").to_list() == frame["word"].to_list()


BAD = {
    "empty": (b"", "is empty"),
    "header alone": (b"a,b\n", "has a header and no rows"),
    "a short row": (b"a,b\n1,2\n3\n", r"row 2 \(line 3\) has 1 fields, and the header 2"),
    "a long row": (b"a,b\n1,2\n3,4\n5,6,7\n", r"row 3 \(line 4\) has 3 fields"),
    "a short row among quotes": (b'a,b\n"1,5",2\n3\n', r"row 2 \(line 3\) has 1 fields"),
    "two columns of one name": (b"a,a\n1,2\n", "two columns are called 'a'"),
    "a column without a name": (b"a,\n1,2\n", "column 2 has no name"),
    "pandas' row numbers": (b",a\n0,2\n", r"column 1 has no name.*index=False"),
    "separators at the ends": (b"a,b,\n1,2,\n", "column 3 has no name.*remove the separator"),
    "a row for a header": (b"5.1,setosa\n4.9,setosa\n", "is a row, for its 'setosa' comes again"),
    "a blank first line": (b"\na,b\n1,2\n", "line 1 is blank"),
    "Excel's hint": (b"sep=;\na;b\n1;2\n", "a hint for Excel; remove that line"),
    "lines of an old Mac": (b"a,b\r1,2\r3,4\r", "end in CR alone"),
    "no header": (b"1,2\n3,4\n", "the first line holds numbers"),
    "latin-1": ("näme,b\n1,2\n".encode("latin-1"), r"line 1 is not UTF-8 \(byte 0xe4\)"),
    "utf-16": ("a,b\n1,2\n".encode("utf-16"), "is UTF-16 text"),
    "a workbook": (b"PK\x03\x04" + bytes(50), "is a ZIP file, Excel's say, or save it as CSV"),
    "gzipped": (b"\x1f\x8b" + bytes(50), "is gzipped; call it .csv.gz"),
    "binary": (b"a,b\n\x00\x01,2\n", "holds bytes that no text has"),
    "text far down": (b"a,b\n" + b"1,2\n" * 20011 + b"x,3\n", r"'a' holds numbers, but 'x' in row 20012"),
    "an open quote": (
        b'a,b\n"x,1\ny,2\n',
        r"row 1 \(line 2\) has 1 fields.*a quote is open from line 2 to 3",
    ),
    "text after blank lines": (b"a,b\n\n\n" + b"1,2\n" * 20011 + b"x,3\n", r"row 20012 \(line 20015\)"),
    "text after quoted lines": (
        b'b,a\n"p\nq",2\n' + b"1,2\n" * 20011 + b"1,x\n",
        r"row 20013 \(line 20015\)",
    ),
    "a long row after blank lines": (b"a,b\n\n1,2\n\n5,6,7\n", r"row 2 \(line 5\) has 3 fields"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_file_is_named_in_one_line(tmp_path, kind):
    content, said = BAD[kind]
    path = tmp_path / "bad.csv"
    path.write_bytes(content)
    with pytest.raises(UserError, match=said) as caught:
        read_table(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["t.parquet", "t.npz", "t.csv.gz"])
def test_junk_in_a_binary_file_is_named(tmp_path, name):
    (tmp_path / name).write_bytes(b"junk junk junk")
    with pytest.raises(UserError, match="cannot be read") as caught:
        read_table(tmp_path / name)
    assert "pickle" not in str(caught.value)  # numpy would offer to load it as one


LINES = {"a row": '1,x\n', "a blank": "\n", "separators": ",\n", "spaces": "  , \n", "words": "NA,?\n",
         "two lines": '2,"x\ny"\n', "crlf": "3,z\r\n"}  # fmt: skip


@given(st.lists(st.sampled_from(list(LINES)), min_size=1, max_size=30), st.integers(0, 29))
def test_the_line_of_a_row_is_where_it_begins_in_the_file(tmp_path_factory, kinds, at):
    path = tmp_path_factory.mktemp("t") / "t.csv"
    marked = [LINES[k] for k in kinds]
    at = min(at, len(marked))
    marked.insert(at, "7777,m\n")
    path.write_bytes(("a,b\n" + "".join(marked)).encode())
    row = read_table(path).column("b").to_list().index("m")
    line = 2 + "".join(marked[:at]).count("\n")
    assert place(str(path), row) == f"row {row + 1} (line {line})"


def test_blank_lines_are_counted_for_who_asks(tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n1,2\n\n,\n3,4\n\n")
    found = []
    assert sum(map(len, read_chunks(tmp_path / "t.csv", blank=found.append))) == 2
    assert sum(found) == 3


def test_names_and_missing_entries_may_have_spaces_about_them(tmp_path):
    (tmp_path / "t.csv").write_text("a , b\n1,x\n  , NA\n3,y\n")
    table = read_table(tmp_path / "t.csv")
    assert table.names == ("a", "b")
    assert table.column("b").to_list() == ["x", "y"]
    (tmp_path / "t.csv").write_text("a , b\n1,x\n  ,z\n3, NA\n")
    table = read_table(tmp_path / "t.csv")
    assert numbers(table.column("a")).to_list() == [1, None, 3]
    assert table.column("b").to_list() == ["x", "z", None]


def test_years_may_be_names(tmp_path):
    (tmp_path / "t.csv").write_text("country,2019,2020\nfr,1,2\nde,2,2019\n")
    assert read_table(tmp_path / "t.csv").names == ("country", "2019", "2020")


def test_a_nan_of_a_binary_file_is_a_missing_entry(tmp_path):
    pl.DataFrame({"a": [1.0, float("nan")]}).write_parquet(tmp_path / "t.parquet")
    np.savez(tmp_path / "t.npz", a=np.array([1.0, np.nan]))
    for name in ("t.parquet", "t.npz"):
        assert read_table(tmp_path / name).column("a").to_list() == [1, None]


def test_blank_lines_are_no_rows(tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n1,2\n\n3,4\n\n")
    assert read_table(tmp_path / "t.csv").column("a").to_list() == [1, 3]


def test_a_semicolon_and_a_decimal_comma_are_understood(tmp_path):
    (tmp_path / "t.csv").write_text("a;b\n1,5;2\n2,25;3\n")
    assert read_table(tmp_path / "t.csv").column("a").to_list() == [1.5, 2.25]


class Bomb:
    """Leaves a trace where it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


def test_nothing_in_an_npz_is_unpickled(tmp_path):
    trace = tmp_path / "executed"
    np.savez(tmp_path / "t.npz", x=np.array([Bomb(trace)], dtype=object))
    with pytest.raises(UserError, match="x holds Python objects"):
        read_table(tmp_path / "t.npz")
    assert not trace.exists()
    assert pickle.dumps(Bomb(trace))  # the bomb is one


def test_an_npz_gives_a_matrix_as_columns_and_refuses_other_lengths(tmp_path):
    x, y = np.arange(21.0).reshape(7, 3), np.arange(7)
    np.savez(tmp_path / "t.npz", x=x, y=y)
    table = read_table(tmp_path / "t.npz")
    assert table.names == ("x0", "x1", "x2", "y")
    assert table.column("x1").to_list() == x[:, 1].tolist()
    np.savez(tmp_path / "u.npz", x=x, y=y[:5])
    with pytest.raises(UserError, match="has 7 rows and y 5"):
        read_table(tmp_path / "u.npz")


def test_codes_with_a_zero_in_front_are_words_and_numbers_with_one_are_not(tmp_path):
    file = tmp_path / "t.csv"
    file.write_text("code,n,zero\n01,1,0\n02,02,1\n11,113,0\n,4,1\n")
    frame = pl.concat(read_chunks(file))
    assert frame["code"].to_list() == ["01", "02", "11", None]
    assert frame["n"].to_list() == [1, 2, 113, 4]
    assert frame["zero"].to_list() == [0, 1, 0, 1]
