"""`fit` on sources of every kind: the parameters are those that arrays in memory give."""

import numpy as np
import pytest

import mtl_jax as mtl
from tests.train._run import arrays, digest, run


def folder(directory, data):
  directory.mkdir()
  for key, values in data.items():
    np.save(directory / f"{key}.npy", values)
  return mtl.data.source.npy(directory)


def slices():
  """The batches that `run` draws."""
  return iter(mtl.data.batches(arrays(500, 0), 32, seed=0))


@pytest.fixture(scope="module")
def expected():
  return digest(run(steps=20).state.params)


def test_files_train_and_resume_as_arrays_do(tmp_path, expected):
  train, valid = folder(tmp_path / "train", arrays(500, 0)), folder(tmp_path / "valid", arrays(100, 1))
  run(tmp_path / "run", steps=10, train=train, valid=valid)
  resumed = run(tmp_path / "run", steps=20, train=train, valid=valid, resume=True)
  assert digest(resumed.state.params) == expected
  assert resumed.history[-1] == run(steps=20).history[-1]


def test_streams_train_and_say_how_they_go_on(tmp_path, expected):
  stream = mtl.data.source.stream(slices)
  run(tmp_path / "run", steps=10, train=stream)
  with pytest.warns(UserWarning, match="a stream cannot go back: 10 batches are drawn and dropped"):
    resumed = run(tmp_path / "run", steps=20, train=stream, resume=True)
  assert digest(resumed.state.params) == expected


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"train": 3}, "train is a int, expected a dictionary of arrays"),
    ({"valid": mtl.data.source.stream(slices)}, "valid is a stream, whose examples have no numbers"),
  ],
)
def test_mistakes_name_the_option(options, message):
  with pytest.raises(mtl.UserError, match=message):
    run(**options)
