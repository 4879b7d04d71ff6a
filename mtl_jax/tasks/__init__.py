"""Tasks: a loss, the examples it counts for, and how its quality is measured.

- `classification`: one of several classes.
- `binary`: yes or no.
- `multilabel`: any of several labels at once.
- `regression`: numbers.
- `counts`: how many there are.
- `ordinal`: one of several levels in order.
- `keypoints`: points in images.
- `detection`: objects in images, classes and boxes.
- `segmentation`, `depth`, `normals`: a class, a distance or a direction for every pixel.
- `tagging`: a class for every position of a sequence.
- `dependencies`: the syntactic tree of each sentence.
- `Task`: any other loss.
- `auxiliary`: a task that is trained with a fixed weight and not balanced; `balanced`: the other tasks.
- `with_metrics`: a task with further metrics.
- `balanced_weights`: class weights by which rare classes count as much as others.
- `Calibration`, `calibration`: how outputs are made to fit validation data.
- `Metric`, `metrics`: how quality is measured, and ready-made metrics.
"""

from mtl_jax.tasks import calibration, metrics
from mtl_jax.tasks._task import Task, auxiliary, balanced, with_metrics
from mtl_jax.tasks.calibration import Calibration
from mtl_jax.tasks.class_weights import balanced_weights
from mtl_jax.tasks.classification import binary, classification, multilabel
from mtl_jax.tasks.counts import counts
from mtl_jax.tasks.dependencies import dependencies
from mtl_jax.tasks.depth import depth
from mtl_jax.tasks.detection import detection
from mtl_jax.tasks.keypoints import keypoints
from mtl_jax.tasks.metrics import Metric
from mtl_jax.tasks.normals import normals
from mtl_jax.tasks.ordinal import ordinal
from mtl_jax.tasks.regression import regression
from mtl_jax.tasks.segmentation import segmentation
from mtl_jax.tasks.tagging import tagging

__all__ = [
  "Calibration",
  "Metric",
  "Task",
  "auxiliary",
  "balanced",
  "balanced_weights",
  "binary",
  "calibration",
  "classification",
  "counts",
  "dependencies",
  "depth",
  "detection",
  "keypoints",
  "metrics",
  "multilabel",
  "normals",
  "ordinal",
  "regression",
  "segmentation",
  "tagging",
  "with_metrics",
]
