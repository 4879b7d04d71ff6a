"""Tasks: a loss with its mask, metrics and direction."""

from mtl_jax.tasks import metrics
from mtl_jax.tasks._task import Task as Task
from mtl_jax.tasks._task import auxiliary as auxiliary
from mtl_jax.tasks._task import balanced as balanced
from mtl_jax.tasks.classification import binary as binary
from mtl_jax.tasks.classification import classification as classification
from mtl_jax.tasks.classification import multilabel as multilabel
from mtl_jax.tasks.metrics import Metric as Metric
from mtl_jax.tasks.regression import regression as regression

__all__ = ["Metric", "Task", "auxiliary", "balanced", "binary", "classification", "metrics", "multilabel", "regression"]
