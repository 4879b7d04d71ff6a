"""Data sets by name from TensorFlow Datasets, without TensorFlow."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from mtl_jax._core.errors import UserError, some
from mtl_jax.data.source.examples import Examples


def tfds(
  name: str,
  split: str,
  *,
  keys: Sequence[str] | None = None,
  data_dir: str | os.PathLike[str] | None = None,
  download: bool = False,
) -> Examples:
  """A split of a data set of TensorFlow Datasets, read by number from its ArrayRecord files.

  Args:
    name: Such as `"mnist"` or `"cifar10:3.0.2"`.
    split: Such as `"train"` or `"train[:90%]"`.
    keys: The features to read, for data sets that have words or sequences beside numbers; None: all.
    data_dir: Where data sets are kept; None: that of TensorFlow Datasets.
    download: Fetch and prepare the data set if it is not there, which needs a network and, for many data sets,
      TensorFlow.

  Returns:
    The source; images are decoded as they are read.

  Raises:
    UserError: The data set or split is not there; a feature is missing or holds no numbers.
  """
  try:
    import tensorflow_datasets

    found = tensorflow_datasets.data_source(name, split=split, data_dir=data_dir, download=download, try_gcs=False)
    source = found if keys is None else _Selected(found, tuple(keys))
  except Exception as error:  # They have no common base: missing packages, no network, no files.
    what = " ".join(f"{type(error).__name__}: {error}".split("\n")[0].split())
    advice = "" if download else "; download=True fetches and prepares it"
    raise UserError(f"TensorFlow Datasets cannot give split {split!r} of {name!r} ({what[:200]}){advice}.") from error
  return Examples(source, f"split {split!r} of {name!r}")


class _Selected:
  """Some of the features of each example."""

  def __init__(self, examples: Any, keys: Sequence[str]):
    self._examples, self._keys = examples, keys

  def __len__(self) -> int:
    return len(self._examples)

  def __getitem__(self, number: int) -> dict[str, Any]:
    return self._select(self._examples[number])

  def __getitems__(self, numbers: Sequence[int]) -> list[dict[str, Any]]:
    return [self._select(example) for example in self._examples.__getitems__(numbers)]

  def _select(self, example: dict[str, Any]) -> dict[str, Any]:
    for key in self._keys:
      if key not in example:
        raise UserError(f"there is no feature {key!r}, only {some(map(repr, example))}.")
    return {key: example[key] for key in self._keys}
