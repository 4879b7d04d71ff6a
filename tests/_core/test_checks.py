"""Numbers and dtypes that options refuse: one clear line each, the same wherever the option is."""

import jax.numpy as jnp
import numpy as np
import pytest

import mtl_jax as mtl
from mtl_jax._core.checks import check_compute_dtype, check_numbers


@pytest.mark.parametrize(
  ("options", "message"),
  [
    *[
      ({name: 0}, f"{name} is 0, expected at least 1.")
      for name in (
        *("steps", "batch_size", "accumulate", "eval_every", "checkpoint_every", "keep", "log_every", "patience"),
        "seeds",
        *("--batch-size", "--checkpoint-every", "--num-processes"),
      )
    ],
    ({"patience": -3}, "patience is -3, expected at least 1."),
    ({"seed": -1}, "seed is -1, expected at least 0."),
    ({"seed": 2**32}, "seed is 4294967296, expected at most 4294967295."),
    ({"--process-id": -1}, "--process-id is -1, expected at least 0."),
    ({"steps": 10.5}, "steps is 10.5, expected a whole number of at least 1."),
    ({"steps": "10"}, "steps is '10', expected a whole number"),
    ({"batch_size": True}, "batch_size is True, expected a whole number"),
    ({"eval_every": float("nan")}, "eval_every is nan, expected a whole number"),
    *[
      ({"learning_rate": value}, f"learning_rate is {value!r}, expected above 0 and finite.")
      for value in (0.0, -1.0, float("nan"), float("inf"), "fast", True)
    ],
  ],
)
def test_numbers_out_of_range(options, message):
  with pytest.raises(mtl.UserError) as caught:
    check_numbers(options)
  assert message in str(caught.value) and "\n" not in str(caught.value)


def test_numbers_in_range_and_no_numbers():
  check_numbers({"steps": np.int64(1), "seed": 2**32 - 1, "patience": None, "learning_rate": 1, "recipe": "digits"})


@pytest.mark.parametrize(
  ("dtype", "message"),
  [
    ("int8", "compute_dtype is int8, expected floating-point numbers: take bfloat16"),
    (jnp.complex64, "compute_dtype is complex64, expected floating-point numbers"),
    ("float16", "compute_dtype is float16, in which small gradients vanish: take bfloat16"),
    (jnp.float8_e4m3fn, "compute_dtype is float8_e4m3fn, in which small gradients vanish"),
    (jnp.float8_e8m0fnu, "compute_dtype is float8_e8m0fnu, in which small gradients vanish"),
    ("float64", "compute_dtype is float64, but 64 bits are off in JAX"),
    ("bfloat", "unknown compute_dtype 'bfloat' (did you mean 'bfloat16'?): take bfloat16 or float32"),
    (3, "unknown compute_dtype 3: take bfloat16 or float32"),
  ],
)
def test_dtypes_that_nothing_can_be_trained_in(dtype, message):
  with pytest.raises(mtl.UserError) as caught:
    check_compute_dtype(dtype)
  assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("dtype", [None, "float32", "bfloat16", jnp.bfloat16, np.float32])
def test_dtypes_that_networks_can_be_trained_in(dtype):
  check_compute_dtype(dtype)
