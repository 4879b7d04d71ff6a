"""Known data sets as plain arrays, from a package, a directory of the user's or TensorFlow Datasets."""

from mtl_jax.data.source.digits import digits as digits
from mtl_jax.data.source.mnist import mnist as mnist
