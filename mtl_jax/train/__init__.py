"""Training: state, step, loop, checkpoints, logs."""

from mtl_jax.train._state import TrainState as TrainState
from mtl_jax.train._state import init_train_state as init_train_state
from mtl_jax.train._step import make_train_step as make_train_step
