"""The census from the files of UCI, and from the same with a header and gzipped."""

import gzip

import pytest

from mtl_jax import UserError
from mtl_jax.data import source
from mtl_jax.data.source.adult import COLUMNS

ROW = "39, State-gov, 77516, Bachelors, 13, Never-married, ?, Not-in-family, White, Male, 2174, 0, 40, United-States, "


def test_files_of_uci(tmp_path):
  folder = tmp_path / "adult"
  folder.mkdir()
  (folder / "adult.data").write_text(f"{ROW}<=50K\n{ROW}>50K\n\n")
  (folder / "adult.test").write_text(f"|1x3 Cross validator\n{ROW}<=50K.\n")
  found = source.adult(tmp_path)
  assert {part: table.num_rows for part, table in found.items()} == {"train": 2, "test": 1}
  assert found["train"].column_names == COLUMNS
  assert found["train"]["income"].to_pylist() == ["<=50K", ">50K"] and found["test"]["income"].to_pylist() == ["<=50K"]
  assert found["train"]["occupation"].to_pylist() == [None, None] and found["train"]["age"].to_pylist() == ["39", "39"]
  for part, name in (("train", "adult.data"), ("test", "adult.test")):
    text = (
      ",".join(COLUMNS) + "\n" + (folder / name).read_text().replace("|1x3 Cross validator\n", "").replace(", ", ",")
    )
    (folder / f"adult_{part}.csv.gz").write_bytes(gzip.compress(text.encode()))
    (folder / name).unlink()
  assert {part: table.to_pydict() for part, table in source.adult(tmp_path).items()} == {
    part: table.to_pydict() for part, table in found.items()
  }


def test_files_that_are_not_there_or_damaged(tmp_path, monkeypatch):
  with pytest.raises(UserError, match="Adult is not in .*adult: get adult.data from https"):
    source.adult(tmp_path)
  monkeypatch.delenv("MTL_JAX_DATA", raising=False)
  with pytest.raises(UserError, match="Adult is not here: get adult.data and adult.test from https"):
    source.adult()
  (tmp_path / "adult").mkdir()
  for name, content in (
    ("adult.data", b"no rows"),
    ("adult_train.csv.gz", b"no gzip"),
    ("adult_train.csv.gz", b"\x1f\x8b"),
  ):
    (tmp_path / "adult" / name).write_bytes(content)
    with pytest.raises(UserError, match=f"{name}.* once more"):
      source.adult(tmp_path)
