"""Tasks: a loss, the examples it counts for, and how its quality is measured.

- `classification`: one of several classes.
- `binary`: yes or no.
- `multilabel`: any of several labels at once.
- `regression`: numbers.
- `counts`: how many there are.
- `ordinal`: one of several levels in order.
- `keypoints`: points in images.
- `similarity`: how alike two things are.
- `contrastive`: which of all things in a batch belongs to which.
- `span`: where in a sequence something begins and ends.
- `detection`: objects in images, classes and boxes.
- `segmentation`, `depth`, `normals`: a class, a distance or a direction for every pixel.
- `transcription`: the text of a sequence, such as of speech; `decoding`: from its logits to text.
- `language_model`: the next token of a text.
- `tagging`: a class for every position of a sequence.
- `dependencies`: the syntactic tree of each sentence.
- `Task`: any other loss.
- `auxiliary`: a task that is trained with a fixed weight and not balanced; `balanced`: the other tasks.
- `with_metrics`: a task with further metrics.
- `balanced_weights`: class weights by which rare classes count as much as others.
- `Calibration`, `calibration`: how outputs are made to fit validation data.
- `Imitation`, `imitation`: how a task learns from another model's predictions.
- `Metric`, `metrics`: how quality is measured, and ready-made metrics.
"""

from mtl_jax.tasks import calibration, decoding, imitation, metrics
from mtl_jax.tasks._task import Task, auxiliary, balanced, with_metrics
from mtl_jax.tasks.calibration import Calibration
from mtl_jax.tasks.class_weights import balanced_weights
from mtl_jax.tasks.classification import binary, classification, multilabel
from mtl_jax.tasks.contrastive import contrastive
from mtl_jax.tasks.counts import counts
from mtl_jax.tasks.dependencies import dependencies
from mtl_jax.tasks.depth import depth
from mtl_jax.tasks.detection import detection
from mtl_jax.tasks.imitation import Imitation
from mtl_jax.tasks.keypoints import keypoints
from mtl_jax.tasks.language_model import language_model
from mtl_jax.tasks.metrics import Metric
from mtl_jax.tasks.normals import normals
from mtl_jax.tasks.ordinal import ordinal
from mtl_jax.tasks.regression import regression
from mtl_jax.tasks.segmentation import segmentation
from mtl_jax.tasks.similarity import similarity
from mtl_jax.tasks.span import span
from mtl_jax.tasks.tagging import tagging
from mtl_jax.tasks.transcription import transcription

__all__ = [
  "Calibration",
  "Imitation",
  "Metric",
  "Task",
  "auxiliary",
  "balanced",
  "balanced_weights",
  "binary",
  "calibration",
  "classification",
  "contrastive",
  "counts",
  "decoding",
  "dependencies",
  "depth",
  "detection",
  "imitation",
  "keypoints",
  "language_model",
  "metrics",
  "multilabel",
  "normals",
  "ordinal",
  "regression",
  "segmentation",
  "similarity",
  "span",
  "tagging",
  "transcription",
  "with_metrics",
]
