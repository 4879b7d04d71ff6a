"""Runnable experiments, one per file: data, network and tasks in one screenful; and those of the user's own.

- `names`: the names of all recipes, such as `digits`, for `mtl-jax train digits` too.
- `load`: the recipe of a name.
- `find`: the recipe of a name, a file of your own (`my.py`) or a function (`package.module:function`).
- `Recipe`, `Splits`, `Parts`: its type, its data, its trunk and heads.
- `Files`, `Predicted`: how files of users' own are read, and what is predicted of them; `photos`: of images.
- `of_table`: the recipe of any table; `TableShape`, `Network`, `NETWORKS`: its network.
- `Table`, `table_of`, `files_of`: its rows; `without_duplicates`, `rows_of`: each once, and in parts.
- `checked`: refuses what is no recipe; `traceback_in`: what went wrong in a file of your own, in short.
"""

from mtl_jax.recipes._find import checked, find, load, names, traceback_in
from mtl_jax.recipes._of_table import NETWORKS, Network, TableShape, of_table
from mtl_jax.recipes._photos import photos
from mtl_jax.recipes._recipe import Files, Parts, Predicted, Recipe, Splits
from mtl_jax.recipes._table_rows import Table, files_of, rows_of, table_of, without_duplicates

__all__ = [
  "Files",
  "NETWORKS",
  "Network",
  "Parts",
  "Predicted",
  "Recipe",
  "Splits",
  "Table",
  "TableShape",
  "checked",
  "files_of",
  "find",
  "load",
  "names",
  "of_table",
  "photos",
  "rows_of",
  "table_of",
  "traceback_in",
  "without_duplicates",
]
