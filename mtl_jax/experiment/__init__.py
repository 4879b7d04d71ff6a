"""Experiments: a recipe with its options as one configuration, run, compared with others, planned and opened again."""

from mtl_jax.experiment.compare import Comparison as Comparison
from mtl_jax.experiment.compare import compare as compare
from mtl_jax.experiment.config import Experiment as Experiment
from mtl_jax.experiment.config import RunConfig as RunConfig
from mtl_jax.experiment.config import configure as configure
from mtl_jax.experiment.run import train_run as train_run
from mtl_jax.experiment.trained import open_trained as open_trained
