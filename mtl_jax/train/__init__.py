"""Training: state, step, loop, evaluation, checkpoints, logs."""

from mtl_jax.train._bilevel_step import make_bilevel_step as make_bilevel_step
from mtl_jax.train._evaluate import Metrics as Metrics
from mtl_jax.train._evaluate import make_evaluate as make_evaluate
from mtl_jax.train._evaluate import make_predict as make_predict
from mtl_jax.train._evaluate import predict_all as predict_all
from mtl_jax.train._finish import Nonfinite as Nonfinite
from mtl_jax.train._finish import check_nonfinite as check_nonfinite
from mtl_jax.train._fit import Fit as Fit
from mtl_jax.train._fit import NonFiniteError as NonFiniteError
from mtl_jax.train._fit import fit as fit
from mtl_jax.train._load import Trained as Trained
from mtl_jax.train._load import load as load
from mtl_jax.train._load import making_of as making_of
from mtl_jax.train._loop import Loop as Loop
from mtl_jax.train._programs import Programs as Programs
from mtl_jax.train._programs import compile_programs as compile_programs
from mtl_jax.train._score import mean_loss as mean_loss
from mtl_jax.train._state import TrainState as TrainState
from mtl_jax.train._state import init_train_state as init_train_state
from mtl_jax.train._step import make_train_step as make_train_step
