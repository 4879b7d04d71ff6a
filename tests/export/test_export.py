"""Exported models say what the model says, in a process without this library, and their card says what they are."""

import hashlib
import inspect
import json
import sys

import jax
import numpy as np
import pytest

import mtl_jax as mtl
from mtl_jax import UserError
from mtl_jax import export as exports
from mtl_jax.export import stablehlo
from mtl_jax.export.elsewhere import elsewhere
from tests.train._run import NET, TASKS, arrays, run


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
  directory = tmp_path_factory.mktemp("run") / "run"
  run(directory, steps=10)
  return mtl.load(directory, NET, TASKS)


@pytest.fixture(scope="module")
def examples():
  return {"x": arrays(5, 3)["x"]}


@pytest.fixture(scope="module")
def written(trained, examples, tmp_path_factory):
  path = tmp_path_factory.mktemp("export") / "model.stablehlo"
  return exports.export(trained, path, examples, about={"run": {"recipe": "mine"}})


@pytest.mark.slow
def test_the_file_computes_what_the_model_does(written, trained):
  assert written.difference < 1e-6 and written.examples == 5
  stored = jax.export.deserialize(bytearray(written.path.read_bytes()))
  for count in (1, 7):
    batch = {"x": arrays(count, 4)["x"]}
    found, expected = stored.call(batch), trained.predict(batch)
    assert list(found) == [f"{task}.{name}" for task, named in sorted(expected.items()) for name in sorted(named)]
    for task, named in expected.items():
      for name, value in named.items():
        np.testing.assert_allclose(found[f"{task}.{name}"], value, rtol=1e-5, atol=1e-6)


def test_the_card_says_what_the_file_is(written):
  card = json.loads(written.card.read_text())
  assert card["sha256"] == hashlib.sha256(written.path.read_bytes()).hexdigest()
  assert card["inputs"] == {"x": {"shape": [None, 6], "dtype": "float32"}}
  assert card["outputs"]["kind.probability"] == {"shape": [None, 2], "dtype": "float32"}
  assert card["tasks"] == ["kind", "size"] and card["run"] == {"recipe": "mine"}
  assert {"mtl-jax", "jax", "flax"} == set(card["versions"])


def test_some_of_the_tasks(trained, examples, tmp_path):
  model = exports.deployed(trained, ["size"])
  assert {name.partition(".")[0] for name in model.outputs} == {"size"}
  lowered = jax.jit(model.function).lower(examples).as_text()
  assert len(lowered) < len(jax.jit(exports.deployed(trained).function).lower(examples).as_text())


def test_a_file_for_one_number_of_examples(trained, examples, tmp_path):
  """It is compared on all examples, in as many calls as that takes."""
  written = exports.export(trained, tmp_path / "model", examples, tasks=["size"], batch=4)
  assert (written.examples, written.batch) == (8, 4)
  assert json.loads(written.card.read_text())["inputs"]["x"]["shape"] == [4, 6]
  stored = jax.export.deserialize(bytearray(written.path.read_bytes()))
  assert stored.in_avals[0].shape == (4, 6)


def faulty(change):
  """A format whose runtime gives other outputs."""
  after = f"\nright = opened\ndef opened(path):\n  run = right(path)\n  return lambda arrays: {change}\n"
  return exports.FORMATS["stablehlo"]._replace(run=elsewhere(stablehlo.PROGRAM + after))


@pytest.mark.slow
@pytest.mark.parametrize(
  ("change", "expected"),
  [
    ("{k: v + 1 for k, v in run(arrays).items()}", "differs in .* by"),
    ("{k: v + numpy.float32('nan') for k, v in run(arrays).items()}", "differs in .* by nan"),
    ("{k: v[:2] for k, v in run(arrays).items()}", r"gives .* as \(2,.*expected \(5,"),
    ("{'other': v for v in run(arrays).values()}", "gives the outputs other, expected"),
    ("__import__('flax')", "cannot be run in its own runtime: .*flax is not here"),
  ],
)
def test_a_file_that_says_something_else_is_not_written(trained, examples, tmp_path, monkeypatch, change, expected):
  monkeypatch.setattr(sys.modules["mtl_jax.export.export"], "FORMATS", {"stablehlo": faulty(change)})
  with pytest.raises(UserError, match=expected):
    exports.export(trained, tmp_path / "model", examples)
  assert not list(tmp_path.iterdir())


def test_bad_wishes(trained, examples, tmp_path):
  export = inspect.unwrap(exports.export)
  with pytest.raises(UserError, match="unknown format 'onx'.*onnx"):
    export(trained, tmp_path / "model", examples, format="onx")
  with pytest.raises(UserError, match="stablehlo cannot be quantized to 'int8': leave it out"):
    export(trained, tmp_path / "model", examples, quantize="int8")
  with pytest.raises(UserError, match="onnx cannot be quantized to 'int4': choose from int8, fp16"):
    export(trained, tmp_path / "model", examples, format="onnx", quantize="int4")
  with pytest.raises(UserError, match="no task 'sise'"):
    export(trained, tmp_path / "model", examples, tasks=["sise"])
  with pytest.raises(UserError, match="no 'x', only y"):
    export(trained, tmp_path / "model", {"y": examples["x"]})
  with pytest.raises(UserError, match=r"input 'x' has shape \(5, 5\), expected \('N', 6\)"):
    export(trained, tmp_path / "model", {"x": examples["x"][:, :5]})
  with pytest.raises(UserError, match="no examples to compare by"):
    export(trained, tmp_path / "model", {"x": examples["x"][:0]})
  with pytest.raises(UserError, match="batch_size is 0"):
    export(trained, tmp_path / "model", examples, batch=0)
  with pytest.raises(UserError, match="without its tasks"):
    exports.deployed(trained._replace(problem=mtl.Problem(NET, {})))
  with pytest.raises(UserError, match="cannot use"):
    export(trained, tmp_path / "none" / "model", examples)
  assert not list(tmp_path.iterdir())
