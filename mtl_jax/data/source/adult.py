"""The census of 1994, known as Adult."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path
from typing import TYPE_CHECKING

from mtl_jax._core.errors import UserError
from mtl_jax.data.source._folder import folder
from mtl_jax.data.source._lines import text_of
from mtl_jax.data.table.frame import as_table

if TYPE_CHECKING:
  import pyarrow as pa

COLUMNS = (
  "age workclass fnlwgt education education_num marital_status occupation relationship race sex capital_gain "
  "capital_loss hours_per_week native_country income"
).split()
_PLACE = "https://archive.ics.uci.edu/dataset/2/adult"
_FILES = {"train": ("adult_train.csv.gz", "adult.data"), "test": ("adult_test.csv.gz", "adult.test")}


def adult(data_dir: str | os.PathLike[str] | None = None) -> dict[str, pa.Table]:
  """People of the census of 1994: 32,561 to train and 16,281 to test on; 7 % have missing answers.

  Args:
    data_dir: A directory with a directory `adult` that holds the files of UCI, `adult.data` and `adult.test`, or these
      with a header, gzipped, `adult_train.csv.gz` and `adult_test.csv.gz`; None: that of the environment variable
      `MTL_JAX_DATA`.

  Returns:
    The tables `train` and `test` of 15 columns of text, null where an answer is missing: `age`, `workclass`, `fnlwgt`
    (how many people a row stands for), `education`, `education_num`, `marital_status`, `occupation`, `relationship`,
    `race`, `sex`, `capital_gain`, `capital_loss`, `hours_per_week`, `native_country` and `income` (`<=50K`, `>50K`).

  Raises:
    UserError: A file is missing or damaged, or pyarrow is not installed.

  References:
    Becker and Kohavi, *Adult*, UCI Machine Learning Repository, 1996, CC BY 4.0.
  """
  directory = folder(data_dir)
  if directory is None:
    raise UserError(
      f"Adult is not here: get adult.data and adult.test from {_PLACE}, and set MTL_JAX_DATA to the directory D that "
      "holds them as D/adult/adult.data."
    )
  return {part: _read(directory / "adult", names) for part, names in _FILES.items()}


def _read(directory: Path, names: tuple[str, ...]) -> pa.Table:
  found = [directory / name for name in names if (directory / name).is_file()]
  if not found:
    raise UserError(f"Adult is not in {directory}: get {names[-1]} from {_PLACE} and put it there.")
  advice = f"get it from {_PLACE} once more"
  text = io.StringIO(text_of(found[0], advice))
  try:
    rows = [row for row in csv.reader(text, skipinitialspace=True) if len(row) == len(COLUMNS)]
  except csv.Error as error:
    raise UserError(f"cannot read {found[0]}: {error}: {advice}.") from error
  rows = [row for row in rows if row != COLUMNS]
  if not rows:
    raise UserError(f"{found[0]} holds no rows of {len(COLUMNS)} columns: {advice}.")
  columns = dict(zip(COLUMNS, zip(*rows, strict=True), strict=True))
  columns["income"] = tuple(word.rstrip(".") for word in columns["income"])  # as the test file has it
  return as_table(columns)
