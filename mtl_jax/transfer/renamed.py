"""Weights under the names and in the layout of another library."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mtl_jax._core.errors import UserError, some
from mtl_jax._core.paths import compiled


def renamed(
  weights: Mapping[str, Any], mapping: Mapping[str, str | tuple[str, str] | None], *, partial: bool = False
) -> tuple[dict[str, Any], dict[str, Any]]:
  r"""Weights by the names in their file as parameters and state of a net.

  Args:
    weights: `{name: array}`, as `read_torch` or `read_safetensors` gives them.
    mapping: `{pattern: path}`. The first regular expression that matches the whole of a name says where its array goes:
      `params/` or `state/` and the path in that tree, in which `\1` stands for the first group, as in `re.sub`. With
      `(path, layout)` its axes are put in another order, such as `"OIHW -> HWIO"` for the convolutions of PyTorch and
      `"OI -> IO"` for its linear layers. None: the array is left out.
    partial: Leave out arrays that no pattern matches, in place of an error.

  Returns:
    Parameters and state, as `pretrained` takes them.

  Raises:
    UserError: No pattern matches an array, a pattern matches none or is none, two arrays have one path, or an array has
      other axes than its layout.

  >>> weights = {"fc.weight": np.zeros((3, 2)), "bn.running_mean": np.zeros(2), "bn.num_batches_tracked": np.zeros(())}
  >>> params, state = renamed(weights, {
  ...   r"(\w+)\.weight": (r"params/\1/kernel", "OI -> IO"),
  ...   r"(\w+)\.running_(\w+)": r"state/batch_stats/\1/\2",
  ...   r".*num_batches_tracked": None,
  ... })
  >>> params["fc"]["kernel"].shape, list(state["batch_stats"]["bn"])
  ((2, 3), ['mean'])
  """
  patterns = {pattern: compiled("renamed", pattern) for pattern in mapping}
  found: dict[str, Any] = {"params": {}, "state": {}}
  matched, unused = set(), []
  for name, array in weights.items():
    pattern = next((pattern for pattern, regex in patterns.items() if regex.fullmatch(name)), None)
    if pattern is None:
      unused.append(name)
      continue
    matched.add(pattern)
    target = mapping[pattern]
    if target is None:
      continue
    path, layout = (target, None) if isinstance(target, str) else target
    *branches, leaf = _place(pattern, patterns[pattern].sub(path, name))
    node = found
    for key in branches:
      node = node.setdefault(key, {})
    if leaf in node:
      raise UserError(f"renamed: two arrays go to {'/'.join([*branches, leaf])!r}, the second is {name!r}.")
    node[leaf] = array if layout is None else _laid_out(name, array, layout)
  if unused and not partial:
    raise UserError(f"renamed: no pattern matches {some(unused)}: add one, with None to leave them out.")
  if rest := [pattern for pattern in mapping if pattern not in matched]:
    raise UserError(f"renamed: the pattern {rest[0]!r} matches nothing: there are {some(weights)}.")
  return found["params"], found["state"]


def _place(pattern: str, path: str) -> list[str]:
  keys = path.split("/")
  if len(keys) < 2 or keys[0] not in ("params", "state") or "" in keys:
    raise UserError(f"renamed: {pattern!r} leads to {path!r}, expected a path that begins with params/ or state/.")
  return keys


def _laid_out(name: str, array: Any, layout: str) -> Any:
  before, _, after = (part.strip() for part in layout.partition("->"))
  if sorted(before) != sorted(after) or len(set(before)) != len(before):
    raise UserError(f"renamed: the layout {layout!r} is none: name the axes before and after, as 'OIHW -> HWIO'.")
  if np.ndim(array) != len(before):
    raise UserError(f"renamed: {name!r} has shape {np.shape(array)}, expected the axes {before}.")
  return np.transpose(array, [before.index(axis) for axis in after])
