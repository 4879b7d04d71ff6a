"""Analysis: how the tasks' gradients relate, and how good the model is.

- `gradient_cosines`: the cosines between the tasks' gradients; below 0 two tasks conflict.
- `parts`, `Part`: the parameters and the work of each part of a net, shared and per task.
- `delta_m`: the mean change over tasks against single-task training, in percent.

`mtl-jax compare` draws pictures of both.
"""

from mtl_jax.analysis.conflict import gradient_cosines
from mtl_jax.analysis.delta_m import delta_m
from mtl_jax.analysis.parts import Part, parts

__all__ = ["Part", "delta_m", "gradient_cosines", "parts"]
