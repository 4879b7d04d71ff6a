"""Experiments: a recipe with its options as one configuration, run, compared with others and opened again.

What the commands of `mtl-jax` do, as functions:

- `configure`: a recipe with its options, an `Experiment`; `RunConfig`: what of it is kept as JSON.
- `train_run`: trains it, and tests the model.
- `compare`: several balancers against single-task training; `Comparison`, `Method`: what it finds.
- `join`: trains for a comparison that another program has begun; `Others`: such programs, for `compare`.
- `open_trained`: a run opened again, with its best model.
- `reproduce`: a run made again; `Reproduced`: whether it says the same.
"""

from mtl_jax.experiment.compare import compare, join
from mtl_jax.experiment.comparison import Comparison, Method
from mtl_jax.experiment.config import Experiment, RunConfig, configure
from mtl_jax.experiment.reproduce import Reproduced, reproduce
from mtl_jax.experiment.run import train_run
from mtl_jax.experiment.runs import Others
from mtl_jax.experiment.trained import open_trained

__all__ = [
  "Comparison",
  "Experiment",
  "Method",
  "Others",
  "Reproduced",
  "RunConfig",
  "compare",
  "configure",
  "join",
  "open_trained",
  "reproduce",
  "train_run",
]
