"""Sources of data: files and data sets by name, as arrays or as a `Source` that is read by number."""

from mtl_jax.data.source.array_record import array_record as array_record
from mtl_jax.data.source.digits import digits as digits
from mtl_jax.data.source.mapped import mapped as mapped
from mtl_jax.data.source.mnist import mnist as mnist
from mtl_jax.data.source.npy import npy as npy
from mtl_jax.data.source.npz import npz as npz
from mtl_jax.data.source.parquet import parquet as parquet
from mtl_jax.data.source.stream import stream as stream
from mtl_jax.data.source.tfds import tfds as tfds
