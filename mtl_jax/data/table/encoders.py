"""From the columns of a table to arrays: what is learned from the training rows is plain JSON.

Each kind of column is a class with `fit(values, found)`, which reads training rows; `encode(values)`, which gives the
column's share of the arrays, in the block that it names; and fields that JSON holds.
"""

from __future__ import annotations

from mtl_jax.data.table.number import Number
from mtl_jax.data.table.text import Text
from mtl_jax.data.table.word import Word

Column = Number | Word | Text
KINDS: dict[str, type[Number] | type[Word] | type[Text]] = {
  "number": Number,
  "date": Number,
  "word": Word,
  "text": Text,
}
