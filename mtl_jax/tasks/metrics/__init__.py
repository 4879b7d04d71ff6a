"""Ready-made metrics: a state of each batch, merged and computed once.

Each is a function that returns a `Metric`, for `mtl.Task(metrics={name: metric})` or `mtl.tasks.with_metrics`.

- `accuracy`, `precision`, `recall`, `f1`: of decisions.
- `roc_auc`, `average_precision`: of scores of a binary label.
- `group_auc`: the same within groups, such as the impressions of each user.
- `log_loss`, `calibration_error`: of probabilities.
- `r2`: the share of the variance that is explained.
- `pearson`, `spearman`: how numbers follow their labels.
- `mean_absolute_error`: of numbers; `total_error`: of all of them together.
- `mean_average_precision`: of detected boxes, as COCO defines it.
- `mean_iou`: of classes of pixels.
- `character_error_rate`, `word_error_rate`: of texts, by edits.
- `span_f1`: of spans of tags.
- `median`: of any value per example or pixel.
- `mean`: the mean of any value per example.
- `collected`: any function of the whole data set, in numpy.
- `Metric`: their type, and how they are called.
"""

from mtl_jax.tasks.metrics.collected import collected
from mtl_jax.tasks.metrics.confusion import f1, mean_iou, precision, recall
from mtl_jax.tasks.metrics.correlation import pearson, spearman
from mtl_jax.tasks.metrics.detections import mean_average_precision
from mtl_jax.tasks.metrics.edits import character_error_rate, word_error_rate
from mtl_jax.tasks.metrics.histogram import median
from mtl_jax.tasks.metrics.means import accuracy, mean, mean_absolute_error, total_error
from mtl_jax.tasks.metrics.metric import Metric
from mtl_jax.tasks.metrics.probabilities import calibration_error, log_loss
from mtl_jax.tasks.metrics.ranking import average_precision, group_auc, roc_auc
from mtl_jax.tasks.metrics.spans import span_f1
from mtl_jax.tasks.metrics.variance import r2

__all__ = [
  "Metric",
  "accuracy",
  "average_precision",
  "calibration_error",
  "character_error_rate",
  "collected",
  "f1",
  "group_auc",
  "log_loss",
  "mean",
  "mean_absolute_error",
  "mean_average_precision",
  "mean_iou",
  "median",
  "pearson",
  "precision",
  "r2",
  "recall",
  "roc_auc",
  "span_f1",
  "spearman",
  "total_error",
  "word_error_rate",
]
