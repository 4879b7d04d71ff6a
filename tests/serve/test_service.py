"""What the service answers: the model's predictions, and one clear line with its status for whatever it cannot do."""

import base64
import io
import logging
import socket
import sys

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

import mtl_jax as mtl
from mtl_jax import serve
from mtl_jax.cli.main import main
from tests.serve.conftest import LIMITS, wait_for, with_limits

RNG = np.random.default_rng(0)
X = RNG.integers(0, 255, (9, 3, 4, 1), np.uint8)


def lists(x):
  return {"examples": [{"x": one.tolist()} for one in x]}


def expected(trained, x):
  outputs = trained.predict({"x": x})
  return list(mtl.recipes.Predicted({"x": x}, list(map(str, range(len(x)))), trained.problem.tasks, outputs).records())


def same(found, records):
  assert [list(one) for one in found] == [list(one) for one in records]
  for one, record in zip(found, records, strict=True):
    assert one["name"] == record["name"]
    assert one["mean"] == pytest.approx(record["mean"], rel=1e-5)
    assert one["bright"]["class"] == record["bright"]["class"]


@pytest.mark.parametrize("count", [1, 3, 4, 9])
def test_examples_in_json(client, trained, count):
  """Nine are more than a batch and are cut into pieces."""
  found = client.post("/predict", json=lists(X[:count]))
  assert found.status_code == 200
  same(found.json()["answers"], expected(trained[0], X[:count]))


def test_examples_in_base64(client, trained):
  body = {"examples": [{"x": base64.b64encode(one.tobytes()).decode()} for one in X[:2]]}
  same(client.post("/predict", json=body).json()["answers"], expected(trained[0], X[:2]))


def npz(save=np.savez, **arrays):
  file = io.BytesIO()
  save(file, **arrays)
  return file.getvalue()


def png(image):
  file = io.BytesIO()
  Image.fromarray(image[..., 0]).save(file, "PNG")
  return file.getvalue()


def test_files_of_arrays(client, trained):
  found = client.post("/predict", content=npz(x=X), params={"name": "C:\\my\\in.npz"})
  same(found.json()["answers"], expected(trained[0], X))


def test_files_of_the_recipe(client, trained):
  found = client.post("/predict", content=png(X[0]), params={"name": "cat.png", "picture": "true"}).json()
  (answer,) = found["answers"]
  assert answer["name"] == "cat.png"
  assert answer["mean"] == pytest.approx(expected(trained[0], X[:1])[0]["mean"], rel=1e-5)
  start, _, data = found["picture"].partition(",")
  assert start == "data:image/png;base64" and np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))).std() > 1


def test_some_tasks(client):
  asked = [{"json": lists(X[:1]) | {"tasks": ["mean"]}}, {"json": lists(X[:1]), "params": {"tasks": ["mean", "mean"]}}]
  for options in asked:
    assert [*client.post("/predict", **options).json()["answers"][0]] == ["name", "mean"]


def test_the_card_and_the_description(client):
  card = client.get("/card").json()
  assert card["tasks"] == ["bright", "mean"] and card["inputs"] == {"x": {"shape": [None, 3, 4, 1], "dtype": "uint8"}}
  assert card["outputs"]["mean.value"] == {"shape": [None], "dtype": "float32"} and card["step"] == 2
  assert card["data"] == {"unit": {"mean": "grey values"}} and card["reads_files"] and card["run"]["recipe"] == "bright"
  asked = client.get("/openapi.json").json()["components"]["schemas"]["Asked"]["properties"]
  assert asked["tasks"]["items"]["enum"] == card["tasks"] and asked["examples"]["maxItems"] == LIMITS.queue


def test_the_page_needs_nothing_from_elsewhere(client):
  page = client.get("/")
  assert (
    page.headers["content-type"].startswith("text/html")
    and "default-src 'none'" in page.headers["content-security-policy"]
  )
  assert "http" not in page.text.replace("http-equiv", "") and page.text.count("<label") and "</html>" in page.text


BOMB = npz(np.savez_compressed, x=np.zeros((9000, 3, 4, 1), np.uint8))


@pytest.mark.parametrize(
  ("status", "message", "options"),
  [
    (422, "the body is no JSON: JSONDecodeError: Expecting value", {"content": b"nan"}),
    (422, "the body is no JSON: ValueError: NaN is no number of JSON", {"content": b'{"examples": [{"x": NaN}]}'}),
    (422, "the body is no JSON: RecursionError", {"content": b"[" * 15_000}),
    (422, "the body is no JSON: UnicodeDecodeError", {"content": b'"\xff"'}),
    (422, "the body is a list, expected {", {"json": []}),
    (422, "the body has no 'examples'", {"json": {}}),
    (422, "the body has 'exmples' (did you mean 'examples'?)", {"json": {"exmples": []}}),
    (422, "'examples' is a list, expected a list with something in it", {"json": {"examples": []}}),
    (422, "examples[0] is 3, expected {", {"json": {"examples": [3]}}),
    (422, "examples[1] is null, expected an object", {"json": {"examples": [*lists(X[:1])["examples"], None]}}),
    (422, "there is no input 'x', only nothing", {"json": {"examples": [{}]}}),
    (422, "has an input 'X', expected 'x'", {"json": {"examples": [{"X": 1}]}}),
    (422, "examples[1] has the inputs , expected 'x'", {"json": {"examples": [*lists(X[:1])["examples"], {}]}}),
    (422, "input 'x' has a list of 2 at depth 0, expected a list of 3, of shape (3, 4, 1)", {"json": lists(X[:1, :2])}),
    (422, "input 'x' has 7 at depth 2, expected a list of 1", {"json": {"examples": [{"x": [[7] * 4] * 3}]}}),
    (422, "holds true, expected numbers of dtype uint8", {"json": {"examples": [{"x": [[[True]] * 4] * 3}]}}),
    (422, "holds 'a', expected numbers of dtype uint8", {"json": {"examples": [{"x": [[["a"]] * 4] * 3}]}}),
    (
      422,
      "input 'x' has dtype int64 and values that uint8 cannot hold",
      {"json": {"examples": [{"x": [[[256]] * 4] * 3}]}},
    ),
    (422, "input 'x' has dtype float64 and values that uint8", {"json": {"examples": [{"x": [[[0.5]] * 4] * 3}]}}),
    (422, "input 'x' has dtype object", {"json": {"examples": [{"x": [[[10**400]] * 4] * 3}]}}),
    (422, "input 'x' is a string that is no base64, expected that of 12 bytes", {"json": {"examples": [{"x": "Ä"}]}}),
    (422, "input 'x' is the base64 of 3 bytes, expected 12", {"json": {"examples": [{"x": "AAAA"}]}}),
    (
      422,
      "there is no task 'men' (did you mean 'mean'?): 'bright', 'mean'",
      {"json": lists(X[:1]) | {"tasks": ["men"]}},
    ),
    (422, "'tasks' holds something else than the names of tasks", {"json": lists(X[:1]) | {"tasks": [1]}}),
    (422, "'tasks' is a list, expected a list with something", {"json": lists(X[:1]) | {"tasks": []}}),
    (422, "there is no parameter 'task' (did you mean 'tasks'?)", {"json": lists(X[:1]), "params": {"task": "mean"}}),
    (422, "the parameter 'picture' is 'yes', expected true or false", {"json": {}, "params": {"picture": "yes"}}),
    (422, "the parameter 'name' is given 2 times", {"json": {}, "params": {"name": ["a", "b"]}}),
    (422, "cannot read upload as an image", {"content": b"no image", "headers": {}}),
    (
      422,
      "cannot read x.npz: it is no .npz file",
      {"content": b"no zip", "headers": {}, "params": {"name": "/etc/x.npz"}},
    ),
    (
      422,
      "rows.csv.GZ: files that are packed are not taken",
      {"content": b"x", "headers": {}, "params": {"name": "a/rows.csv.GZ"}},
    ),
    (422, "x.npz has no array 'x', only 'y'", {"content": npz(y=X), "headers": {}, "params": {"name": "x.npz"}}),
    (
      422,
      "input 'x' has shape (9, 3), expected (N, 3, 4, 1)",
      {"content": npz(x=X[:, :, 0, 0]), "headers": {}, "params": {"name": "x.npz"}},
    ),
    (
      422,
      "Object arrays cannot be loaded",
      {"content": npz(x=np.array([{}, 1], object)), "headers": {}, "params": {"name": "x.npz"}},
    ),
    (
      422,
      "x.npz has 108128 bytes unpacked, expected at most 20000",
      {"content": BOMB, "headers": {}, "params": {"name": "x.npz"}},
    ),
    (413, "there are 11 examples, expected at most 10", {"json": {"examples": [{"x": "A" * 16}] * 11}}),
    (413, "the body is larger than 20000 bytes", {"content": b"x" * 20_001}),
  ],
)
def test_mistakes_are_one_line(client, status, message, options):
  options = {"headers": {"Content-Type": "application/json"}} | options
  found = client.post("/predict", **options)
  told = found.json()["error"]
  assert (found.status_code, message in told) == (status, True), told
  assert "\n" not in told and len(told) < 600 and "/tmp" not in told and "Traceback" not in told


def test_other_paths_and_methods(client):
  assert client.get("/nothing").status_code == 404 and client.get("/nothing").json() == {"error": "Not Found"}
  found = client.get("/predict")
  assert found.status_code == 405 and found.headers["allow"] == "POST"


def test_half_characters_are_told_escaped(client):
  found = client.post(
    "/predict", content=rb'{"examples": [{"\ud800": 1}]}', headers={"Content-Type": "application/json"}
  )
  assert found.status_code == 422 and r"\ud800" in found.json()["error"]


def test_too_much_at_once_is_refused_until_there_is_room(trained):
  app = serve.app(*trained, limits=with_limits(queue=2))
  with TestClient(app) as client:
    wait_for(client)
    room = app.state.model.branches[0].batches.room
    room.held = 1
    found = client.post("/predict", json=lists(X[:2]))
    assert found.status_code == 503 and found.headers["retry-after"] == "1" and "try again" in found.json()["error"]
    room.held = 0
    assert client.post("/predict", json=lists(X[:2])).status_code == 200 and room.held == 0


def test_what_takes_too_long_is_given_up(trained, monkeypatch):
  app = serve.app(*trained, limits=with_limits(max_wait_ms=60_000, timeout=0.2))
  with TestClient(app) as client:
    wait_for(client)
    found = client.post("/predict", json=lists(X[:1]))
    assert found.status_code == 504 and "not answered in time" in found.json()["error"]
    assert app.state.model.branches[0].batches.room.held == 0
    assert client.post("/predict", json=lists(X[:2]) | lists(X[:4])).status_code == 200  # a full batch does not wait


def test_before_it_is_ready_and_when_it_cannot_be(trained, monkeypatch, caplog):
  app = serve.app(*trained, limits=LIMITS)
  stopped = []
  app.state.model.stop = lambda: stopped.append(True)
  monkeypatch.setattr(app.state.model.branches[0].batches, "run", lambda arrays: 1 / 0)
  with TestClient(app) as client, caplog.at_level(logging.CRITICAL, "mtl_jax.serve"):
    while not stopped:
      found = client.get("/health")
      assert found.status_code == 503 and found.headers["retry-after"] == "1"
    assert client.get("/health").json() == {"status": "failed"}
    assert client.post("/predict", json=lists(X[:1])).status_code == 503


def test_no_traceback_reaches_a_client(trained, monkeypatch):
  app = serve.app(*trained, limits=LIMITS)
  with TestClient(app, raise_server_exceptions=False) as client:
    wait_for(client)
    monkeypatch.setattr(app.state.model.branches[0].batches, "run", lambda arrays: 1 / 0)
    found = client.post("/predict", json=lists(X[:1]))
    assert found.status_code == 500 and "ZeroDivision" not in found.text and "log of the service" in found.text
    monkeypatch.undo()
    assert client.post("/predict", json=lists(X[:1])).status_code == 200


def test_a_line_of_log_for_each_request(client, caplog):
  with caplog.at_level(logging.INFO, "mtl_jax.serve"):
    client.get("/health%0Aforged")
  (line,) = [record.getMessage() for record in caplog.records if record.name == "mtl_jax.serve"]
  assert "GET /health%0Aforged 404" in line and "\n" not in line


def test_bad_wishes(trained):
  with pytest.raises(mtl.UserError, match="no task 'men'"):
    serve.app(*trained, tasks=["men"])
  for options, message in (
    ({"queue": 0}, "queue is 0"),
    ({"timeout": 0}, "timeout is 0"),
    ({"max_wait_ms": -1}, "is -1"),
  ):
    with pytest.raises(mtl.UserError, match=message):
      serve.app(*trained, limits=with_limits(**options))


@pytest.mark.parametrize(
  ("words", "message"),
  [
    ("--port 99999", "--port is 99999, expected at most 65535"),
    ("--queue 0", "--queue is 0, expected at least 1"),
    ("--timeout 0", "--timeout is 0.0, expected above 0 and finite"),
    ("--max-wait-ms -1", "--max-wait-ms is -1.0, expected at least 0"),
    ("--max-batch-sise 3", "serve has no option --max-batch-sise (did you mean '--max-batch-size'?)"),
    ("--tasks men", "no task 'men' (did you mean 'mean'?)"),
    ("--port {taken}", "cannot listen on 127.0.0.1, port {taken}: Address already in use: choose another --port"),
    ("--host 203.0.113.1", "cannot listen on 203.0.113.1, port 8000"),
  ],
)
def test_mistakes_of_the_command(place, capsys, words, message):
  with socket.create_server(("127.0.0.1", 0)) as other:
    taken = other.getsockname()[1]
    command = ["serve", str(place / "run"), "--recipe", str(place / "my.py"), *words.format(taken=taken).split()]
    assert main(command) == 2
  (line,) = capsys.readouterr().err.splitlines()
  assert message.format(taken=taken) in line


def test_without_the_extra_it_is_named(trained, monkeypatch):
  monkeypatch.setitem(sys.modules, "starlette.applications", None)
  monkeypatch.delitem(sys.modules, "mtl_jax.serve._http")
  monkeypatch.delattr(serve, "_http")
  with pytest.raises(mtl.UserError, match=r"pip install 'mtl-jax\[serve\]'"):
    serve.app(*trained)
