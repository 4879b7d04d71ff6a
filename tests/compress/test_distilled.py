"""Students: their loss against numpy, what they learn without labels, and mistakes told in one line."""

import json

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.special import log_expit, log_softmax

import mtl_jax as mtl
from mtl_jax import UserError
from mtl_jax.cli.main import main
from mtl_jax.compress import distilled
from mtl_jax.data.views import TEACHER
from tests.cli.test_own_recipe import FILE

rng = np.random.default_rng(0)
N = 40
X = rng.normal(size=(N, 4)).astype(np.float32)
DATA = {
  "x": X,
  "kind": X[:, :3].argmax(axis=1).astype(np.int32),
  "hot": (X[:, 0] > 0).astype(np.int32),
  "tags": (X[:, :2] > 0).astype(np.int32),
  "size": (3 * X[:, 1] + 1).astype(np.float32),
  "known": (np.arange(N) % 3 > 0).astype(np.float32),
}
TASKS = {
  "kind": mtl.tasks.classification("kind", 3),
  "hot": mtl.tasks.binary("hot", mask="known"),
  "tags": mtl.tasks.multilabel("tags", 2),
  "size": mtl.tasks.regression("size", mean=1.0, std=3.0),
}
TRUTH = {
  "kind": lambda x: 8 * x[:, :3],
  "hot": lambda x: 8 * x[:, :1],
  "tags": lambda x: 8 * x[:, :2],
  "size": lambda x: 1.5 * x[:, 1] + 0.5,  # of labels whose mean is 0 and whose deviation is 2
}
LOGITS = {"kind": (N, 3), "hot": (N, 1), "tags": (N, 2), "size": (N, 1)}
PREDICTIONS = {name: rng.normal(size=shape).astype(np.float32) for name, shape in LOGITS.items()}


def teacher(*names, truth=TRUTH, tasks=None):
  """A model that knows the truth."""
  own = TASKS | {"size": mtl.tasks.regression("size", std=2.0)} | (tasks or {})
  empty = {"shared": {}, "task": {name: {} for name in names}}
  net = mtl.Net(lambda key, x: (empty, empty), lambda p, s, x: ({name: truth[name](x) for name in names}, s))
  problem = mtl.Problem(net, {name: own[name] for name in names})
  return mtl.Trained(problem, empty, empty, 1, mtl.data.describe(DATA))


ALL = teacher(*TASKS)


def losses(student, name):
  batch = {key: jax.tree.map(jnp.asarray, value) for key, value in student.train.items()}
  return np.asarray(student.tasks[name].loss(jnp.asarray(PREDICTIONS[name]), batch), np.float64)


def expected(name, temperature):
  """The teacher's part, in numpy and double precision."""
  z, y = (np.asarray(each, np.float64) for each in (TRUTH[name](X), PREDICTIONS[name]))
  if name == "size":
    return (y[:, 0] - (2 * z - 1) / 3) ** 2
  p, q = z / temperature, y / temperature
  if name == "kind":
    p, q = log_softmax(p, axis=1), log_softmax(q, axis=1)
    return temperature**2 * np.sum(np.exp(p) * (p - q), axis=1)
  each = [np.exp(log_expit(s * p)) * (log_expit(s * p) - log_expit(s * q)) for s in (1, -1)]
  return temperature**2 * np.mean(sum(each), axis=1)


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_the_loss_is_the_one_of_the_docstring(name, temperature):
  plain = distilled(TASKS, ALL, DATA, weight=0.0, temperature=temperature)
  own = losses(plain, name)
  batch = {key: jnp.asarray(value) for key, value in DATA.items()}
  np.testing.assert_array_equal(own, TASKS[name].loss(jnp.asarray(PREDICTIONS[name]), batch))  # to the bit
  part = expected(name, temperature)
  for weight in (0.25, 1.0):
    found = losses(distilled(TASKS, ALL, DATA, weight=weight, temperature=temperature), name)
    # float32, of logits up to 24: their rounding, times T², is some 1e-5
    np.testing.assert_allclose(found, (1 - weight) * own + weight * part, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("name", TASKS)
def test_a_student_like_its_teacher_has_no_loss_and_the_teacher_no_gradient(name):
  student = distilled(TASKS, ALL, DATA, weight=1.0)
  batch = jax.tree.map(jnp.asarray, student.train)
  same = TRUTH[name](jnp.asarray(X))
  same = (2 * same - 1) / 3 if name == "size" else same
  loss = lambda y, entry: jnp.sum(student.tasks[name].loss(y, batch | {TEACHER: entry}))  # noqa: E731
  value, (of_student, of_teacher) = jax.value_and_grad(loss, argnums=(0, 1))(same, batch[TEACHER])
  assert float(value) == pytest.approx(0, abs=1e-6) and float(jnp.abs(of_student).max()) < 1e-5
  assert all((np.asarray(leaf) == 0).all() for leaf in jax.tree.leaves(of_teacher))
  assert float(jnp.abs(jax.grad(loss)(jnp.asarray(PREDICTIONS[name]), batch[TEACHER])).max()) > 1e-3


HEADS = {"kind": 3, "hot": 1, "tags": 2, "size": 1}


def student_net(names=tuple(TASKS)):
  return mtl.arch.hard_sharing(
    mtl.from_linen(mtl.nn.MLP((32,))), {name: mtl.from_linen(nn.Dense(HEADS[name])) for name in names}
  )


def fit(student, steps=2, names=tuple(TASKS), **options):
  tx, options = optax.adam(0.02), {"batch_size": 20, "progress": False} | options
  return mtl.fit(student_net(names), student.tasks, "equal", tx, student.train, steps=steps, **options)


@pytest.mark.slow
def test_a_student_learns_without_labels():
  none = {key: value if key == "x" else np.zeros_like(value) for key, value in DATA.items()} | {"known": DATA["known"]}
  student = distilled(TASKS, [teacher("kind", "size"), teacher("tags", "hot")], none, weight=1.0)
  done = fit(student, 150, valid=DATA)
  scores = {name: done.history[-1][f"{name}/{TASKS[name].main_metric}"] for name in TASKS}
  assert scores["kind"] > 0.9 and scores["hot"] > 0.97 and scores["tags"] > 0.97 and scores["size"] > 0.9
  assert done.history[-1]["size/loss"] < 0.1  # of the labels, in their unit


def test_examples_without_labels_can_be_taught():
  hidden = DATA | {"hot": np.where(DATA["known"] > 0, DATA["hot"], np.nan).astype(np.float32)}
  few = distilled(TASKS, ALL, hidden, weight=0.5)
  every = distilled(TASKS, ALL, hidden, weight=0.5, unlabelled=True)
  batch = jax.tree.map(jnp.asarray, every.train)
  assert few.tasks["hot"].mask(batch).tolist() == DATA["known"].tolist()
  assert every.tasks["hot"].mask(batch).tolist() == [1.0] * N
  assert every.tasks["hot"].mask({"hot": batch["hot"], "known": batch["known"]}).tolist() == DATA["known"].tolist()
  one, other, missing = losses(few, "hot"), losses(every, "hot"), DATA["known"] == 0
  np.testing.assert_array_equal(one[~missing], other[~missing])
  np.testing.assert_allclose(other[missing], 0.5 * expected("hot", 2.0)[missing], rtol=2e-5, atol=2e-5)
  gradient = jax.grad(lambda y: jnp.sum(every.tasks["hot"].loss(y, batch)))(jnp.asarray(PREDICTIONS["hot"]))
  assert np.isfinite(gradient).all() and (np.asarray(gradient)[missing] != 0).all()


@pytest.mark.slow
def test_sources_and_mixtures_are_arrays_to_it(tmp_path, monkeypatch):
  monkeypatch.setattr(mtl.train.Trained, "at_once", 16)  # the last batch is filled up
  for key, value in DATA.items():
    np.save(tmp_path / f"{key}.npy", value)
  two = {name: TASKS[name] for name in ("size", "hot")}
  plain = distilled(two, ALL, DATA)
  read = distilled(two, ALL, mtl.data.source.npy(tmp_path))
  assert len(read.train) == N and read.train.spec.keys() == plain.train.keys()
  numbers = np.array([3, 39, 40, 81])
  found, wanted = read.train.rows(numbers), mtl.data.as_source(plain.train).rows(numbers)
  jax.tree.map(np.testing.assert_array_equal, dict(found), wanted)
  mixed = distilled(two, ALL, {name: DATA for name in two}, names=["size"])
  np.testing.assert_array_equal(mixed.train.sources["size"].rows(np.arange(N))[TEACHER][0], plain.train[TEACHER][0])
  assert TEACHER not in mixed.train.sources["hot"].spec and mixed.tasks["hot"] is TASKS["hot"]
  ends = [fit(student, 3, names=("size", "hot")).params for student in (plain, read, mixed)]
  jax.tree.map(np.testing.assert_array_equal, ends[0], ends[1])
  with pytest.raises(UserError, match="stream"):
    distilled(TASKS, ALL, mtl.data.source.stream(lambda: iter([DATA])))


def test_a_run_does_not_go_on_with_another_teacher(tmp_path):
  fit(distilled({"size": TASKS["size"]}, ALL, DATA), names=("size",), run_dir=tmp_path)
  assert set(json.loads((tmp_path / "data.json").read_text())["arrays"]) == set(DATA)
  other = teacher("size", truth={"size": lambda x: 1.4 * x[:, 1]})
  with pytest.raises(UserError, match="is not this one, data: 40 examples as before, other contents"):
    fit(distilled({"size": TASKS["size"]}, other, DATA), 4, names=("size",), run_dir=tmp_path, resume=True)


BOXES = mtl.tasks.detection("x", 1)


@pytest.mark.parametrize(
  ("tasks", "teachers", "options", "told"),
  [
    (TASKS, teacher("kind"), {}, "task 'hot' has no teacher, they know kind: expected one, or name the tasks"),
    (TASKS, [ALL, teacher("kind")], {}, "task 'kind' has 2 teachers: expected one"),
    (TASKS, [], {}, "task 'kind' has no teacher, they know nothing"),
    (TASKS | {"boxes": BOXES}, ALL, {}, "task 'boxes' cannot be taught by another model, only classes"),
    (TASKS, ALL, {"names": ["kinds"]}, "there is no task 'kinds' .did you mean 'kind'"),
    (TASKS, ALL, {"weight": 1.5}, "weight is 1.5, expected from 0 to 1"),
    (TASKS, ALL, {"temperature": 0.0}, "temperature is 0.0, expected above 0"),
    (
      TASKS | {"kind": mtl.tasks.classification("kind", 4)},
      ALL,
      {},
      "task 'kind': its teacher predicts 3 classes, expected 4 classes",
    ),
    (TASKS, teacher("kind", tasks={"kind": BOXES}), {"names": ["kind"]}, "'kind': its teacher predicts something else"),
  ],
)
def test_mistakes_are_told(tasks, teachers, options, told):
  with pytest.raises(UserError, match=told):
    distilled(tasks, teachers, DATA, **options)


def test_other_inputs_and_outputs_are_told():
  with pytest.raises(UserError, match=r"the teacher of 'kind' was trained on .* 'x': float32\[4\], found float32\[3\]"):
    distilled(TASKS, ALL, DATA | {"x": X[:, :3]}, names=["kind"])
  student = distilled(TASKS, ALL, DATA, names=["kind"])
  with pytest.raises(UserError, match=r"task 'kind': its teacher predicts \(3,\) for an example, expected \(2,\)"):
    student.tasks["kind"].loss(jnp.zeros((N, 2)), jax.tree.map(jnp.asarray, student.train))


@pytest.mark.slow
def test_by_the_command_line(tmp_path, capsys):
  (tmp_path / "tiny.py").write_text(FILE)
  recipe, run = str(tmp_path / "tiny.py"), lambda name: str(tmp_path / name)
  assert main(["train", recipe, "--tasks", "sum", "--recipe.width", "16", "--run-dir", run("sum")]) == 0
  words = ["train", recipe, "--prune", "0.5", "--steps", "8", "--run-dir", run("student")]
  teachers = ["--teacher", run("sum"), "--taught", "sum", "--teacher-weight", "0.75", "--temperature", "3"]
  assert main([*words, *teachers]) == 0
  config = json.loads((tmp_path / "student" / "config.json").read_text())
  kept = {"prune": 0.5, "teachers": [run("sum")], "taught": ["sum"], "teacher_weight": 0.75, "temperature": 3.0}
  assert {name: config[name] for name in kept} == kept and config["fit"]["best_from"] == 6
  found = mtl.train.best_weights(tmp_path / "student")
  assert np.mean(found["params/shared/kernel"] == 0) == 0.5
  capsys.readouterr()
  assert main(["reproduce", run("student"), "--recipe", recipe]) == 0
  assert "the parameters are equal to the bit" in capsys.readouterr().out
  for more, told in [
    (["--resume"], "started with another configuration: "),
    (["--teacher", run("sum"), "--run-dir", run("other")], "task 'hot' has no teacher, they know sum"),
    (["--taught", "sum", "--run-dir", run("other")], "taught is given, but does nothing without a teacher"),
    (["--teacher", run("nothing"), "--run-dir", run("other")], "holds no run"),
    (["--prune", "1", "--run-dir", run("other")], "--prune is 1.0, expected a share of at least 0 and below 1"),
  ]:
    capsys.readouterr()
    assert main([*words, *more]) == 2
    assert told in capsys.readouterr().err
