"""MNIST."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from mtl_jax._core.errors import UserError
from mtl_jax.data.source._folder import arrays_of, folder

_KEYS = ("train_x", "train_y", "test_x", "test_y")
_FILE = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz"


def mnist(data_dir: str | os.PathLike[str] | None = None) -> dict[str, np.ndarray]:
  """Handwritten digits: 60,000 to train and 10,000 to test on, 28 x 28 grey values.

  Args:
    data_dir: A directory with a file `mnist/mnist.npz` that holds the arrays returned, under these names or, as the
      file of Keras, under `x_train`, `y_train`, `x_test`, `y_test`; None: that of the environment variable
      `MTL_JAX_DATA`, and where this is not set either, TensorFlow Datasets and its own data directory.

  Returns:
    `train_x` (60000, 28, 28), `test_x` (10000, 28, 28), and `train_y` (60000,), `test_y` (10000,) in [0, 10), all
    uint8.

  Raises:
    UserError: The file is missing or incomplete, or TensorFlow Datasets cannot supply the data set.

  References:
    LeCun et al., *Gradient-Based Learning Applied to Document Recognition*, 1998.
  """
  directory = folder(data_dir)
  return _from_tfds() if directory is None else _from_file(directory / "mnist" / "mnist.npz")


def _from_file(path: Path) -> dict[str, np.ndarray]:
  if not path.is_file():
    raise UserError(f"MNIST is not at {path}: get it from {_FILE} and put it there.")
  return arrays_of("MNIST", path, _KEYS, {key: "_".join(reversed(key.split("_"))) for key in _KEYS})


def _from_tfds() -> dict[str, np.ndarray]:
  try:
    import tensorflow_datasets as tfds

    sources = tfds.data_source("mnist", split=["train", "test"])
  except Exception as error:  # They have no common base: missing packages, no network, no files.
    what = " ".join(f"{type(error).__name__}: {error}".split("\n")[0].split())
    raise UserError(
      f"MNIST could not be prepared by tensorflow_datasets ({what}), which needs a network and TensorFlow once: or get "
      f"{_FILE} and set MTL_JAX_DATA to the directory D that holds it as D/mnist/mnist.npz."
    ) from error
  data = {}
  for part, source in zip(("train", "test"), sources, strict=True):
    examples = [source[i] for i in range(len(source))]
    data[f"{part}_x"] = np.stack([example["image"][..., 0] for example in examples])
    data[f"{part}_y"] = np.array([example["label"] for example in examples], np.uint8)
  return data
