"""Data: sources of examples, batches of them, validation before training, descriptions.

A data set is a dictionary of arrays, `{key: (N, ...)}`, one row per example, or a source that is read by number.

- `batches`: shuffled batches to train on, which can be resumed.
- `pad_batches`: all examples once and in order, to evaluate on.
- `pad_objects`: lists of boxes and their classes as arrays of one size.
- `letters`: texts as numbers of their letters.
- `check`: refuses data that training would fail on.
- `describe`, `Description`: what is known of a data set without its examples.
- `fingerprint`, `Fingerprint`: by which a resumed run knows its data again.
- `mixture`, `Mixture`: several sources, each with the examples of some tasks; `as_mixture`: what is one.
- `parts`, `folds`: rows to train, tune and test on, at random, by class, by group or by time.
- `join`: data sets that label the same examples in part as one.
- `table`: columns of files and frames as arrays.
- `Source`, `as_source`: what can be read by number; `source`: files and known data sets.
- `augment`: augmentation that moves labels with their images.
- `photos`: files and folders of images as arrays.
- `sounds`: wav files and folders of them as waves.
- `text`: tokens of sentences, and rows packed with several.
- `smiles`: fingerprints, scaffolds and graphs of molecules, by RDKit.
"""

from mtl_jax.data import augment, photos, smiles, sounds, source, table, text
from mtl_jax.data._batches import batches
from mtl_jax.data._pad import pad_batches
from mtl_jax.data.characters import letters
from mtl_jax.data.checking import check
from mtl_jax.data.description import Description, describe
from mtl_jax.data.fingerprint import Fingerprint, fingerprint
from mtl_jax.data.join import join
from mtl_jax.data.mixture import Mixture, as_mixture, mixture
from mtl_jax.data.objects import pad_objects
from mtl_jax.data.parts import folds, parts
from mtl_jax.data.source.convert import as_source
from mtl_jax.data.source.protocol import Source

__all__ = [
  "Description",
  "Fingerprint",
  "Mixture",
  "Source",
  "as_mixture",
  "as_source",
  "augment",
  "batches",
  "check",
  "describe",
  "fingerprint",
  "folds",
  "join",
  "letters",
  "mixture",
  "pad_batches",
  "pad_objects",
  "parts",
  "photos",
  "smiles",
  "sounds",
  "source",
  "table",
  "text",
]
