"""TensorFlow Datasets by name, offline and without TensorFlow: a data set of our own, and their own mock."""

import sys

import numpy as np
import pytest
import tensorflow_datasets

import mtl_jax as mtl


class TinyTable(tensorflow_datasets.core.GeneratorBasedBuilder):
  """Ten rows."""

  VERSION = tensorflow_datasets.core.Version("1.0.0")

  def _info(self):
    tensor = tensorflow_datasets.features.Tensor(shape=(3,), dtype=np.float32)
    features = {"x": tensor, "y": np.int64, "word": tensorflow_datasets.features.Text()}
    features = tensorflow_datasets.features.FeaturesDict(features)
    return tensorflow_datasets.core.DatasetInfo(builder=self, features=features, disable_shuffling=True)

  def _split_generators(self, dl_manager):
    return {"train": self._generate_examples()}

  def _generate_examples(self):
    for i in range(10):
      yield i, {"x": np.full(3, i, np.float32), "y": i, "word": "word"}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
  directory = tmp_path_factory.mktemp("tfds")
  TinyTable(data_dir=directory, file_format="array_record").download_and_prepare()
  return directory


def test_reads_by_number_without_tensorflow(data_dir):
  source = mtl.data.source.tfds("tiny_table", "train[2:]", keys=("x", "y"), data_dir=data_dir)
  assert len(source) == 8 and source.spec["x"].shape == (3,)
  found = source.rows(np.array([1, 0, 8]))
  assert found["y"].tolist() == [3, 2, 2] and found["x"].tolist() == [[3.0] * 3, [2.0] * 3, [2.0] * 3]
  assert "tensorflow" not in sys.modules


def test_images_of_their_mock():
  with tensorflow_datasets.testing.mock_data(num_examples=5):
    source = mtl.data.source.tfds("mnist", "train")
    assert len(source) == 5 and source.spec["image"].shape == (28, 28, 1)


@pytest.mark.parametrize(
  ("name", "split", "keys", "message"),
  [
    ("no_such_table", "train", None, "cannot give split 'train' of 'no_such_table' .*download=True fetches"),
    ("tiny_table", "valid", None, "cannot give split 'valid' of 'tiny_table'"),
    ("tiny_table", "train", ("z",), "there is no feature 'z', only 'x', 'y', 'word'|there is no feature 'z'"),
    ("tiny_table", "train", None, "entry 'word' of split 'train' of 'tiny_table' holds no numbers: leave it out"),
  ],
)
def test_mistakes_are_told_in_one_line(data_dir, name, split, keys, message):
  with pytest.raises(mtl.UserError, match=message) as error:
    mtl.data.source.tfds(name, split, keys=keys, data_dir=data_dir)
  assert "\n" not in str(error.value)
