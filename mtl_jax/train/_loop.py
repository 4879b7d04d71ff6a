"""`Loop`, how a run is watched and kept: what does not change its result."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from mtl_jax._core.checks import check_numbers
from mtl_jax.train._programs import Programs
from mtl_jax.train._state import TrainState


@dataclasses.dataclass(frozen=True)
class Loop:
  """What `mtl.fit` logs, keeps and shows on its way.

  Attributes:
    log_every: Steps between log lines; metrics are read from the device only then.
    checkpoint_every: Steps between checkpoints; None: at each evaluation.
    keep: How many checkpoints stay, the newest; each holds the best model so far, too.
    tensorboard: Also write TensorBoard events.
    title: The title of the progress bar.
    probe: `probe(state) -> {name: number}`, logged at each evaluation.
    programs: From `compile_programs`, to share compiled programs between runs that differ in `seed` alone.
    config: More JSON that describes the run; a resumed run must have the same.
    about: More JSON that describes the data, such as class names and units, stored with their shapes and dtypes.

  Raises:
    UserError: A number is out of range.

  >>> Loop(log_every=10).title
  'train'
  """

  log_every: int = 50
  checkpoint_every: int | None = None
  keep: int = 2
  tensorboard: bool = False
  title: str = "train"
  probe: Callable[[TrainState], Mapping[str, Any]] | None = None
  programs: Programs | None = None
  config: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  about: Mapping[str, Any] = dataclasses.field(default_factory=dict)

  def __post_init__(self) -> None:
    """Checks the numbers."""
    check_numbers({"log_every": self.log_every, "checkpoint_every": self.checkpoint_every, "keep": self.keep})
