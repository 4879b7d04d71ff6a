"""Known data sets as plain arrays, from a package, a directory of the user's or TensorFlow Datasets.

- `digits`: 1797 handwritten digits of 8 x 8, from scikit-learn, offline.
- `mnist`: 70,000 handwritten digits of 28 x 28, from a file or TensorFlow Datasets.
"""

from mtl_jax.data.source.digits import digits
from mtl_jax.data.source.mnist import mnist

__all__ = ["digits", "mnist"]
