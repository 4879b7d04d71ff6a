"""Training: state, step, loop, evaluation, checkpoints, logs.

The whole loop:

- `fit`: trains on arrays in memory; `Fit`: what it returns.
- `Loop`: how a run is watched and kept.
- `mean_loss`, `mean_metric`: scores by which the best parameters may be chosen.
- `compile_programs`, `Programs`: the jitted functions of a run, to share them between runs.
- `NonFiniteError`: a loss or gradient was not finite; `Preempted`: the run was stopped to go on elsewhere.
- `load`, `Trained`: the best model of a run; `Kept`: what else the run says of it; `making_of`: tells in one line why
  it cannot be made.
- `write_model`: the model as a directory that opens like its run.
- `best_weights`: the same as arrays by their paths, without its net.

For a loop of your own:

- `make_train_step`, `make_bilevel_step`: one step.
- `init_train_state`, `TrainState`: the state before the first step, and its type.
- `make_evaluate`, `make_predict`, `predict_all`: metrics and predictions over a data set.
- `Nonfinite`, `check_nonfinite`: what a step does where a loss is not finite.
- `Sparse`: which tables a step reads and updates by rows.
- `transforming`, `Transform`: a step whose batches are first changed at random.
- `Metrics`: what an evaluation returns; `evaluation_size`: how many examples fit one at a time.
- `calibrate`: the numbers that make probabilities and intervals fit validation data; `calibrated`: a problem with
  outputs so made.
"""

from mtl_jax.train._bilevel_step import make_bilevel_step
from mtl_jax.train._calibrate import calibrate, calibrated
from mtl_jax.train._evaluate import Metrics, evaluation_size, make_evaluate, make_predict, predict_all
from mtl_jax.train._finish import Nonfinite, check_nonfinite
from mtl_jax.train._fit import Fit, fit
from mtl_jax.train._load import Kept, Trained, load, making_of
from mtl_jax.train._loop import Loop
from mtl_jax.train._preemption import Preempted
from mtl_jax.train._programs import Programs, compile_programs
from mtl_jax.train._running import NonFiniteError
from mtl_jax.train._score import mean_loss, mean_metric
from mtl_jax.train._sparse import Sparse
from mtl_jax.train._state import TrainState, init_train_state
from mtl_jax.train._step import make_train_step
from mtl_jax.train._transform import Transform, transforming
from mtl_jax.train._weights import best_weights
from mtl_jax.train._write_model import write_model

__all__ = [
  "Fit",
  "Kept",
  "Loop",
  "Metrics",
  "NonFiniteError",
  "Nonfinite",
  "Preempted",
  "Programs",
  "Sparse",
  "TrainState",
  "Trained",
  "Transform",
  "best_weights",
  "calibrate",
  "calibrated",
  "check_nonfinite",
  "compile_programs",
  "evaluation_size",
  "fit",
  "init_train_state",
  "load",
  "make_bilevel_step",
  "make_evaluate",
  "make_predict",
  "make_train_step",
  "making_of",
  "mean_loss",
  "mean_metric",
  "predict_all",
  "transforming",
  "write_model",
]
