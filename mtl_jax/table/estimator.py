"""`Estimator`, multi-task learning on tables as an estimator of scikit-learn."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mtl_jax._core.errors import UserError
from mtl_jax.data import table as tables
from mtl_jax.table.fit import fit


@dataclasses.dataclass(eq=False)
class Estimator:
  """One network for several targets, with the conventions of scikit-learn's estimators.

  `clone`, `cross_val_score`, `GridSearchCV` and pipelines take it. The rows given to `fit` are divided once more, since
  the network is tuned on a part of them.

  Attributes:
    types: The types of the targets by their names, see `mtl.table.fit`; None: the values tell.
    scaling: As in `mtl.table.fit`.
    networks: As in `mtl.table.fit`.
    width: As in `mtl.table.fit`.
    layers: As in `mtl.table.fit`.
    dropout: As in `mtl.table.fit`.
    class_weights: As in `mtl.table.fit`.
    focal: As in `mtl.table.fit`.
    balancer: As in `mtl.table.fit`.
    arch: As in `mtl.table.fit`.
    steps: As in `mtl.table.fit`.
    minutes: As in `mtl.table.fit`.
    seed: As in `mtl.table.fit`.
    progress: Show progress bars, and what was found.

  >>> from sklearn.base import clone
  >>> clone(Estimator(width=32)).get_params()["width"]
  32
  """

  types: Mapping[str, str] | None = None
  scaling: str = "quantile"
  networks: Sequence[str] = ("mlp",)
  width: int = 128
  layers: int = 2
  dropout: float = 0.1
  class_weights: bool = False
  focal: float = 0.0
  balancer: str = "equal"
  arch: str | None = None
  steps: int | None = None
  minutes: float = 5.0
  seed: int = 0
  progress: bool = False

  def fit(self, X: Any, y: Any) -> Estimator:  # noqa: N803
    """Trains on the rows of a table.

    Args:
      X: A table, as `mtl.data.table.as_table` takes it, or an array (N, F).
      y: The targets: a table, a column with a name, or an array, (N,) or (N, T).

    Returns:
      The estimator, with the model as `model_`.

    Raises:
      UserError: As in `mtl.table.fit`.
    """
    inputs, targets = _columns(X, "x"), _columns(y, "y")
    twice = [name for name in targets if name in inputs]
    if twice:
      raise UserError(f"column {twice[0]!r} is among X and y: take it out of X.")
    self.targets_ = list(targets)
    self.classes_ = None
    options = {key: value for key, value in self.get_params().items() if key != "types"}
    self.model_ = fit(
      inputs | targets,
      {name: (self.types or {}).get(name) for name in targets},
      compare=False,
      duplicates=True,
      say=print if self.progress else lambda line: None,
      **options,
    )
    known = self.model_.prepared.targets
    self.classes_ = {name: list(known[name].classes) for name in targets if known[name].classes}
    self._like = {name: np.asarray(_values(targets[name])).dtype for name in targets}
    self.n_features_in_ = len(inputs)
    return self

  def predict(self, X: Any) -> np.ndarray:  # noqa: N803
    """The targets of rows.

    Args:
      X: A table as in `fit`, or an array (N, F).

    Returns:
      (N, T), or (N,) where there is one target; numbers where all targets are, else objects.

    Raises:
      UserError: There is no model yet; or as in `Model.predict`.
    """
    found = self._answers(X)
    columns = [np.asarray(found[name]).astype(self._like[name]) for name in self.targets_]
    kind = float if all(column.dtype.kind in "fiub" for column in columns) else object
    stacked = np.stack([column.astype(kind) for column in columns], axis=1)
    return columns[0] if len(columns) == 1 else stacked

  def predict_proba(self, X: Any) -> dict[str, np.ndarray]:  # noqa: N803
    """The probabilities of the classes of each target that has classes.

    Args:
      X: As in `predict`.

    Returns:
      `{target: (N, classes)}`, in the order of `classes_[target]`.

    Raises:
      UserError: As in `predict`.
    """
    found, probabilities = self._answers(X), {}
    for name, classes in (self.classes_ or {}).items():
      if len(classes) == 2:
        positive = np.asarray(found[f"{name}_probability_{classes[1]}"])
        probabilities[name] = np.stack([1 - positive, positive], axis=1)
      else:
        probabilities[name] = np.stack([found[f"{name}_probability_{word}"] for word in classes], axis=1)
    return probabilities

  def score(self, X: Any, y: Any) -> float:  # noqa: N803
    """How good the predictions are.

    Args:
      X: As in `fit`.
      y: As in `fit`.

    Returns:
      The mean over targets of R2 for numbers and accuracy for classes; higher is better.

    Raises:
      UserError: As in `predict` and `Model.evaluate`.
    """
    self._check()
    metrics = self.model_.evaluate(_columns(X, "x") | _columns(y, "y"))
    return float(np.mean([own["accuracy"] if "accuracy" in own else own["r2"] for own in metrics.values()]))

  def get_params(self, deep: bool = True) -> dict[str, Any]:
    """The options by their names.

    Args:
      deep: Has no meaning: no option is an estimator.

    Returns:
      `{name: value}`.
    """
    return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

  def set_params(self, **options: Any) -> Estimator:
    """Changes options.

    Args:
      **options: Their new values.

    Returns:
      The estimator.

    Raises:
      UserError: There is no such option.
    """
    known = self.get_params()
    for name, value in options.items():
      if name not in known:
        raise UserError(f"Estimator has no option {name!r}: choose from {', '.join(known)}.")
      setattr(self, name, value)
    return self

  def __sklearn_tags__(self) -> Any:
    """What scikit-learn wants to know of an estimator."""
    from sklearn.utils import InputTags, Tags, TargetTags

    target = TargetTags(required=True, multi_output=True)
    tags = InputTags(allow_nan=True, string=True, categorical=True)
    return Tags(estimator_type=None, target_tags=target, input_tags=tags)

  def __sklearn_is_fitted__(self) -> bool:
    """Whether there is a model."""
    return hasattr(self, "model_")

  def _answers(self, X: Any) -> dict[str, Any]:  # noqa: N803
    self._check()
    return self.model_.predict(_columns(X, "x"))

  def _check(self) -> None:
    if not self.__sklearn_is_fitted__():
      raise UserError("this Estimator is not trained yet: call fit(X, y) first.")


def _columns(given: Any, prefix: str) -> dict[str, Any]:
  """A table, or an array whose columns are named by their number, as `{column: values}`."""
  name = getattr(given, "name", None)
  if isinstance(name, str) and not hasattr(given, "columns") and np.ndim(given) == 1:  # a column of pandas or polars
    return {name: np.asarray(given)}
  if isinstance(given, np.ndarray | list | tuple):
    values = np.asarray(given)
    if values.ndim not in (1, 2):
      raise UserError(f"expected a table (N, columns), found an array of shape {values.shape}.")
    return {f"{prefix}{i}": column.tolist() for i, column in enumerate(values.reshape(len(values), -1).T)}
  table = tables.as_table(given)
  return {name: table[name] for name in table.column_names}


def _values(column: Any) -> Any:
  return column.to_pylist() if hasattr(column, "to_pylist") else column
