"""Tables: files of columns that become arrays, by steps that are learned from the training rows and kept with a run.

- `read`: a table from CSV and Parquet files, joined by a key; `write`: columns to a file; `as_table`: a table from
  pandas, polars, Arrow or a dictionary.
- `parse`: targets and their types from words; `Target`: a column to be predicted, with its labels and its task.
- `fit`: learns from training rows how a table becomes arrays, a `Preparation`; `read_preparation`: from JSON again.
- `Split`: how rows are divided to train, tune and test on; `split`, `fold`, `with_test`: the table so divided, `Rows`.
- `Scaling`: how numbers are scaled.
- `Origin`, `origin_of`: where rows are from, so that messages name file and line.
- `distinct`: the rows that have not been there before.
"""

from mtl_jax.data.table.arrow import write
from mtl_jax.data.table.curve import Scaling
from mtl_jax.data.table.frame import as_table, read
from mtl_jax.data.table.origin import Origin, origin_of
from mtl_jax.data.table.preparation import Preparation, fit
from mtl_jax.data.table.preparation import read as read_preparation
from mtl_jax.data.table.splitting import Rows, Split, distinct, fold, split, with_test
from mtl_jax.data.table.target import Target
from mtl_jax.data.table.targets import parse

__all__ = [
  "Origin",
  "Preparation",
  "Rows",
  "Scaling",
  "Split",
  "Target",
  "as_table",
  "distinct",
  "fit",
  "fold",
  "origin_of",
  "parse",
  "read",
  "read_preparation",
  "split",
  "with_test",
  "write",
]
