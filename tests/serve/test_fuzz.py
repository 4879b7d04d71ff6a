"""Whatever is sent, the service answers what it says it answers, and goes on."""

import io
import json

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from PIL import Image

X = np.arange(12, dtype=np.uint8).reshape(1, 3, 4, 1)
TRIES = hypothesis.settings(
  max_examples=150,
  derandomize=True,
  deadline=None,
  database=None,
  suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture, hypothesis.HealthCheck.too_slow],
)


def _file(write):
  file = io.BytesIO()
  write(file)
  return file.getvalue()


NPZ = _file(lambda file: np.savez(file, x=X))
PACKED = _file(lambda file: np.savez_compressed(file, x=X))
PNG = _file(lambda file: Image.fromarray(X[0, :, :, 0]).save(file, "PNG"))

ANYTHING = st.recursive(
  st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
  lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
  max_leaves=20,
)
PIXEL = st.integers(0, 255) | st.sampled_from([-1, 256, 0.5, 1e400, True, None, "1", 2**70])
IMAGE = st.lists(
  st.lists(st.lists(PIXEL, min_size=1, max_size=1), min_size=4, max_size=4), min_size=3, max_size=3
) | st.binary(max_size=13).map(lambda raw: raw.hex())
EXAMPLE = st.dictionaries(st.just("x") | st.text(max_size=3), IMAGE | ANYTHING, max_size=2) | ANYTHING
BODY = (
  st.fixed_dictionaries(
    {"examples": st.lists(EXAMPLE, max_size=3) | ANYTHING},
    optional={"tasks": st.lists(st.sampled_from(["mean", "bright", "", "x"]) | ANYTHING, max_size=3), "y": ANYTHING},
  )
  | ANYTHING
)


@pytest.fixture
def ask(client):
  described = client.get("/openapi.json").json()["paths"]["/predict"]["post"]["responses"]
  limits = {int(status) for status in described} - {503, 504}

  def one(**options):
    found = client.post("/predict", **options)
    assert found.status_code in limits, found.text
    told = found.json()
    assert set(told) <= {"answers", "picture"} if found.status_code == 200 else set(told) == {"error"}
    return found.status_code

  yield one
  assert client.get("/health").json() == {"status": "ready"}
  assert one(json={"examples": [{"x": X[0].tolist()}]}) == 200


@pytest.mark.slow
@TRIES
@hypothesis.given(BODY)
@hypothesis.example({"examples": [{"x": X[0].tolist()}]})
def test_any_json(ask, body):
  ask(content=json.dumps(body), headers={"Content-Type": "application/json"})


@pytest.mark.slow
@TRIES
@hypothesis.given(st.text(max_size=30), st.sampled_from([NPZ, PACKED, PNG, b""]), st.data())
def test_any_file(ask, name, start, data):
  """Files that are cut, changed in some places, or of nothing but noise, under any name."""
  content = bytearray(start[: data.draw(st.integers(0, len(start)))] if data.draw(st.booleans()) else start)
  for _ in range(data.draw(st.integers(0, 4)) if content else 0):
    content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
  content += data.draw(st.binary(max_size=20))
  ending = data.draw(st.sampled_from(["", ".npz", ".png"]))
  ask(content=bytes(content), params={"name": name.encode(errors="replace").decode() + ending})


@TRIES
@hypothesis.given(
  st.dictionaries(st.sampled_from(["name", "tasks", "picture"]) | st.text(max_size=5), st.text(max_size=8))
)
def test_any_parameters(ask, parameters):
  given = {key.encode(errors="replace"): value.encode(errors="replace") for key, value in parameters.items()}
  ask(content=NPZ, params=given)
