"""Sources of data: files and data sets by name, as arrays or as a `Source` that is read by number.

Larger than memory:

- `npy`, `npz`: numpy's files, mapped into memory.
- `parquet`, `array_record`: tables and records.
- `tfds`: a data set of TensorFlow Datasets by its name, without TensorFlow.
- `stream`: a plain iterator of batches.
- `mapped`: another source through a function in numpy, in threads or processes.

In memory:

- `adult`: 48,842 people of a census, from the files of UCI.
- `atis`, `snips`: commands with their intents and slots, from files; `Commands`: what they give.
- `bccd`: 364 photographs of blood, with boxes around its cells, from a file.
- `digits`: 1797 handwritten digits of 8 x 8, from scikit-learn, offline.
- `mnist`: 70,000 handwritten digits of 28 x 28, from a file or TensorFlow Datasets.
- `molecules`: Tox21, SIDER, ClinTox and ToxCast of MoleculeNet, from their files; `Molecules`: what it gives.
- `nyuv2`: 1449 photographs of rooms with classes, depth and normals of their pixels, from a file; `NYUv2`: what it
  gives.
- `office31`: photographs of 31 kinds of office objects from three domains, from a file; `Office31`: what it gives.
- `qm9`: geometry and properties of small molecules, from a file or the package qm9pack.
- `spoken_digits`: 1500 clips of six speakers who say digits, from a file; `SpokenDigits`: what it gives.
- `sentences`: sentences with one label each, SST-2, TREC, SUBJ, MR, CR and MPQA, from their files.
- `ud_ewt`: sentences with their parts of speech and syntactic trees, from files; `Treebank`: what it gives.
"""

from mtl_jax.data.source.adult import adult
from mtl_jax.data.source.array_record import array_record
from mtl_jax.data.source.bccd import bccd
from mtl_jax.data.source.digits import digits
from mtl_jax.data.source.mapped import mapped
from mtl_jax.data.source.mnist import mnist
from mtl_jax.data.source.molecules import Molecules, molecules
from mtl_jax.data.source.nlu import Commands, atis, snips
from mtl_jax.data.source.npy import npy
from mtl_jax.data.source.npz import npz
from mtl_jax.data.source.nyuv2 import NYUv2, nyuv2
from mtl_jax.data.source.office31 import Office31, office31
from mtl_jax.data.source.parquet import parquet
from mtl_jax.data.source.qm9 import qm9
from mtl_jax.data.source.sentences import sentences
from mtl_jax.data.source.spoken_digits import SpokenDigits, spoken_digits
from mtl_jax.data.source.stream import stream
from mtl_jax.data.source.tfds import tfds
from mtl_jax.data.source.ud_ewt import Treebank, ud_ewt

__all__ = [
  "Commands",
  "Molecules",
  "NYUv2",
  "Office31",
  "SpokenDigits",
  "Treebank",
  "adult",
  "array_record",
  "atis",
  "bccd",
  "digits",
  "mapped",
  "mnist",
  "molecules",
  "npy",
  "npz",
  "nyuv2",
  "office31",
  "parquet",
  "qm9",
  "sentences",
  "snips",
  "spoken_digits",
  "stream",
  "tfds",
  "ud_ewt",
]
