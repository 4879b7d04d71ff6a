"""Experiments: a recipe with its options as one configuration, run, compared with others and opened again.

What the commands of `mtl-jax` do, as functions:

- `configure`, `RunConfig`: a recipe's name and options as one configuration.
- `train_run`: trains it, and tests the model.
- `compare`: several balancers against single-task training; `Comparison`, `Method`: what it finds.
- `open_trained`, `Trained`: a run opened again, with its best model.
"""

from mtl_jax.experiment.compare import Comparison, Method, compare
from mtl_jax.experiment.config import RunConfig, configure
from mtl_jax.experiment.run import train_run
from mtl_jax.experiment.trained import Trained, open_trained

__all__ = ["Comparison", "Method", "RunConfig", "Trained", "compare", "configure", "open_trained", "train_run"]
