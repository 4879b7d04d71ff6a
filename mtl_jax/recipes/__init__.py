"""Runnable experiments, one per file: data, network and tasks in one screenful; and those of the user's own.

- `names`: the names of all recipes, such as `digits`, for `mtl-jax train digits` too.
- `load`: the recipe of a name.
- `find`: the recipe of a name, a file of your own (`my.py`) or a function (`package.module:function`).
- `Recipe`, `Splits`, `Parts`: its type, its data, and its trunk and heads.
- `checked`: refuses what is no recipe; `traceback_in`: what went wrong in a file of your own, in short.
"""

from mtl_jax.recipes._find import checked, find, load, names, traceback_in
from mtl_jax.recipes._recipe import Parts, Recipe, Splits

__all__ = ["Parts", "Recipe", "Splits", "checked", "find", "load", "names", "traceback_in"]
