"""Files and frames as tables, and one clear line, which names file, line and column, for whatever is wrong in them."""

import gzip

import pandas
import pyarrow as pa
import pyarrow.parquet
import pytest

from mtl_jax import UserError
from mtl_jax.data import table as tables
from mtl_jax.data.table import csv_file

GOOD = "age, job ,hours\n30, smith,40\n?,'x',NA\n25,\"a, b\",38\n"


def put(path, text):
  data = text if isinstance(text, bytes) else text.encode()
  path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
  return path


@pytest.mark.parametrize("name", ["people.csv", "people.csv.gz"])
def test_csv(tmp_path, name):
  table = tables.read(put(tmp_path / name, GOOD))
  expected = {"age": ["30", None, "25"], "job": ["smith", "'x'", "a, b"], "hours": ["40", None, "38"]}
  assert table.to_pydict() == expected


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_other_separators_byte_order_marks_and_no_header(tmp_path, delimiter):
  text = f"\ufeffa{delimiter}b\n1{delimiter}x,y\n"
  assert tables.read(put(tmp_path / "a.csv", text)).to_pydict() == {"a": ["1"], "b": ["x,y"]}
  bare = put(tmp_path / "b.data", f"1{delimiter} ?\n")
  assert tables.read(bare, names=("a", "b")).to_pydict() == {"a": ["1"], "b": [None]}


def test_parquet_keeps_types(tmp_path):
  table = pa.table({"a": [1, None], "b": [" x ", "?"], "c": [True, False]})
  pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
  assert tables.read(tmp_path / "a.parquet").to_pydict() == {"a": [1, None], "b": ["x", None], "c": [True, False]}


def test_files_are_joined_by_a_key(tmp_path):
  first = put(tmp_path / "visits.csv", "person,cost\n2,10\n1,20\n2,30\n9,5\n")
  second = put(tmp_path / "people.csv", "age,person\n40,1\n50,2\n")
  found = tables.read([first, second], on="person").to_pydict()
  assert found == {"person": ["2", "1", "2", "9"], "cost": ["10", "20", "30", "5"], "age": ["50", "40", "50", None]}


def test_frames():
  given = {"a": [1.5, None], "b": ["x", " ? "], "c": pandas.Categorical(["u", "v"])}
  expected = {"a": [1.5, None], "b": ["x", None], "c": ["u", "v"]}
  of_pandas = pandas.DataFrame(given, index=[5, 7])
  for frame_ in (of_pandas, pa.Table.from_pandas(of_pandas), {**given, "c": ["u", "v"]}):
    assert tables.as_table(frame_).to_pydict() == expected


def test_formulas_and_quotes_are_text(tmp_path):
  cells = ["=cmd|'/C calc'!A0", '"quoted"', "a\nb"]
  tables.write(tmp_path / "a.csv", {"cell": cells})
  assert tables.read(tmp_path / "a.csv").to_pydict() == {"cell": cells}


@pytest.mark.parametrize(
  ("text", "line"),
  [
    ("", "a.csv is empty, expected a line of column names"),
    ("\n", "a.csv is empty"),
    ("a,b\n", "a.csv has a header and no rows"),
    ("a,a\n1,2\n", "a.csv: there are two columns 'a': rename one"),
    ("a,\n1,2\n", "a.csv: column 2 has no name"),
    ("a,b\n1,2\n3\n", "a.csv line 3 has 1 cells, expected 2"),
    ("a,b\n1,2\n3,4,5\n", "a.csv line 3 has 3 cells, expected 2"),
    (b"a,b\n1,2\n3,\xff\n", "a.csv line 3, column 'b': the text is not UTF-8"),
    (b"a,\xff\n1,2\n", "a.csv line 1 is not UTF-8"),
    (b"a,b\n1,2\n3\xff,4,5\n", r"Row #3: Expected 2 columns, got 3"),
    ("a,b\n1,2\n".encode("utf-16"), "not UTF-8"),
  ],
)
def test_broken_files(tmp_path, text, line):
  with pytest.raises(UserError, match=line) as error:
    tables.read(put(tmp_path / "a.csv", text))
  assert "\n" not in str(error.value)


def test_missing_and_cut_off_files(tmp_path):
  with pytest.raises(UserError, match="there is no file .*a.csv"):
    tables.read(tmp_path / "a.csv")
  whole = gzip.compress(GOOD.encode() * 1000)
  (tmp_path / "a.csv.gz").write_bytes(whole[: len(whole) // 2])
  with pytest.raises(UserError, match="cannot read .*a.csv.gz"):
    tables.read(tmp_path / "a.csv.gz")
  (tmp_path / "a.parquet").write_bytes(b"PAR1 and no more")
  with pytest.raises(UserError, match="cannot read .*a.parquet"):
    tables.read(tmp_path / "a.parquet")


def test_joins_that_cannot_be_made(tmp_path):
  first, second = put(tmp_path / "a.csv", "k,v\n1,2\n"), put(tmp_path / "b.csv", "k,w\n1,2\n1,3\n")
  for files, on, line in [
    ([first, second], None, "2 files need a column to join them by"),
    ([first, second], "id", "there is no column 'id'"),
    ([first, second], "k", "b.csv has two rows whose 'k' is '1'"),
    ([first, first], "k", "both have a column 'v'"),
  ]:
    with pytest.raises(UserError, match=line):
      tables.read(files, on=on)


def test_a_file_larger_than_memory_is_refused(tmp_path, monkeypatch):
  path = put(tmp_path / "a.csv", "a,b\n" + "123456789,123456789\n" * 10_000)
  monkeypatch.setattr(csv_file, "_free_memory", lambda: 1e5)
  with pytest.raises(UserError, match=r"a.csv takes .* GiB in memory and more, where .* GiB are free"):
    tables.read(path)


def test_no_table():
  with pytest.raises(UserError, match="expected a table, .*, found int"):
    tables.as_table(3)
  with pytest.raises(UserError, match="name at least one file"):
    tables.read([])


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
  with pytest.raises(UserError, match="cannot write"):
    tables.write(tmp_path / "no" / "a.csv", {"a": [1]})
  tables.write(tmp_path / "a.parquet", {"a": [1, 2]})
  assert tables.read(tmp_path / "a.parquet").to_pydict() == {"a": [1, 2]}
  assert [path.name for path in tmp_path.iterdir()] == ["a.parquet"]
