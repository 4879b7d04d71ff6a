"""Experiments: a recipe with its options as one configuration, run, compared with others and opened again.

What the commands of `mtl-jax` do, as functions:

- `configure`, `RunConfig`: a recipe's name and options as one configuration.
- `train_run`: trains it, and tests the model.
- `compare`, `Comparison`: several balancers against single-task training.
- `open_trained`: a model that is stored in the directory of a run.
"""

from mtl_jax.experiment.compare import Comparison, compare
from mtl_jax.experiment.config import RunConfig, configure
from mtl_jax.experiment.run import train_run
from mtl_jax.experiment.trained import open_trained

__all__ = ["Comparison", "RunConfig", "compare", "configure", "open_trained", "train_run"]
