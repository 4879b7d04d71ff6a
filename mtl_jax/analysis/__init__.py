"""Analysis: how the tasks' gradients relate, and pictures of runs."""

from mtl_jax.analysis.conflict import gradient_cosines as gradient_cosines
from mtl_jax.analysis.delta_m import delta_m as delta_m
