"""Sources of data: files and data sets by name, as arrays or as a `Source` that is read by number.

Larger than memory:

- `npy`, `npz`: numpy's files, mapped into memory.
- `parquet`, `array_record`: tables and records.
- `tfds`: a data set of TensorFlow Datasets by its name, without TensorFlow.
- `stream`: a plain iterator of batches.
- `mapped`: another source through a function in numpy, in threads or processes.

In memory:

- `adult`: 48,842 people of a census, from the files of UCI.
- `digits`: 1797 handwritten digits of 8 x 8, from scikit-learn, offline.
- `mnist`: 70,000 handwritten digits of 28 x 28, from a file or TensorFlow Datasets.
"""

from mtl_jax.data.source.adult import adult
from mtl_jax.data.source.array_record import array_record
from mtl_jax.data.source.digits import digits
from mtl_jax.data.source.mapped import mapped
from mtl_jax.data.source.mnist import mnist
from mtl_jax.data.source.npy import npy
from mtl_jax.data.source.npz import npz
from mtl_jax.data.source.parquet import parquet
from mtl_jax.data.source.stream import stream
from mtl_jax.data.source.tfds import tfds

__all__ = ["adult", "array_record", "digits", "mapped", "mnist", "npy", "npz", "parquet", "stream", "tfds"]
