"""Tagging: the loss and metrics against independent code, spans as conlleval counts them, what is refused."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax

import mtl_jax as mtl

TAGS = ["O", "B-city", "I-city", "B-time", "I-time", "B-day"]
SENTENCES, LENGTH = 40, 24
RNG = np.random.default_rng(0)


def chunks(tags):
  """The spans of one sentence, written down from the description of conlleval: (type, first, last)."""
  found, current = [], None
  for i, tag in enumerate([*tags, "O"]):
    kind, _, name = tag.partition("-")
    if current and (kind != "I" or name != current[0]):
      found.append((current[0], current[1], i - 1))
      current = None
    if kind in ("B", "I") and current is None:
      current = (name, i)
  return set(found)


def micro_f1(sentences, decided):
  pairs = [(chunks(true), chunks(own)) for true, own in zip(sentences, decided, strict=True)]
  right = sum(len(true & own) for true, own in pairs)
  both = sum(len(true) + len(own) for true, own in pairs)
  return 2 * right / both if both else 0.0


def random_rows(rng, rows=SENTENCES):
  """Rows of several sentences with tags of both, and padding at the end: segments, labels, decided tags."""
  segments = np.zeros((rows, LENGTH), np.int32)
  for row in segments:
    size, number = 0, 1
    while (size_of := int(rng.integers(1, 9))) + size <= LENGTH and rng.random() < 0.9:
      row[size : size + size_of] = number
      size, number = size + size_of, number + 1
  labels = np.where(segments > 0, rng.integers(0, len(TAGS), segments.shape), -1).astype(np.int32)
  decided = np.where(rng.random(labels.shape) < 0.7, labels, rng.integers(0, len(TAGS), labels.shape))
  return segments, labels, np.where(labels < 0, rng.integers(0, len(TAGS), labels.shape), decided).astype(np.int32)


def sentences_of(segments, tags, counted=None):
  """The tags of each sentence, in words."""
  counted = segments > 0 if counted is None else counted
  return [
    [TAGS[tag] for tag in row_tags[(row == number) & own]]
    for row, row_tags, own in zip(segments, tags, counted, strict=True)
    for number in np.unique(row[row > 0])
  ]


def scores(task, decided, batch, cuts):
  """All metrics from the states of parts of the batch."""
  logits = np.eye(len(TAGS), dtype=np.float32)[decided]
  weight = np.asarray(task.mask(batch))
  found = {}
  for name, metric in task.metrics.items():
    of_batch = jax.jit(metric.of_batch)
    slices = [slice(*cut) for cut in itertools.pairwise(cuts)]
    parts = [jax.tree.map(lambda a, s=s: a[s], (logits, weight, batch)) for s in slices]
    states = [of_batch(own, task.label(part), w, part) for own, w, part in parts]
    found[name] = float(metric.compute(metric.merge(states)))
  return found


task = mtl.tasks.tagging("y", len(TAGS), classes=TAGS, scheme="bio", segments=("x", "segments"))


@pytest.mark.parametrize("seed", range(3))
def test_spans_of_packed_sentences_are_those_of_conlleval(seed):
  segments, labels, decided = random_rows(np.random.default_rng(seed))
  batch = {"y": labels, "x": {"segments": segments}}
  task.check("t", batch)
  found = scores(task, decided, batch, (0, 16, SENTENCES))
  sentences = sentences_of(segments, labels), sentences_of(segments, decided)
  assert found["span_f1"] == pytest.approx(micro_f1(*sentences), abs=1e-6) and 0 < found["span_f1"] < 1
  assert found["accuracy"] == pytest.approx((labels == decided)[labels >= 0].mean())
  assert task.main_metric == "span_f1"
  # As one sentence the spans of a row would go on over borders.
  row = mtl.tasks.tagging("y", len(TAGS), classes=TAGS, scheme="bio")
  as_one = [np.where(segments > 0, 1, 0), labels], [np.where(segments > 0, 1, 0), decided]
  want = micro_f1(*(sentences_of(*one) for one in as_one))
  assert scores(row, decided, batch, (0, SENTENCES))["span_f1"] == pytest.approx(want, abs=1e-6)


def test_spans_are_those_of_seqeval():
  seqeval = pytest.importorskip("seqeval.metrics")
  segments, labels, decided = random_rows(RNG)
  sentences = sentences_of(segments, labels), sentences_of(segments, decided)
  found = scores(task, decided, {"y": labels, "x": {"segments": segments}}, (0, SENTENCES))
  assert found["span_f1"] == pytest.approx(seqeval.f1_score(*sentences), abs=1e-6)


@pytest.mark.parametrize(
  ("true", "decided", "f1"),
  [
    ("O B-city I-city", "O I-city I-city", 1.0),  # I behind O begins a span
    ("B-city I-city O", "B-city I-time O", 0.0),  # another type begins one, too: two for one
    ("B-city B-city O", "B-city I-city O", 0.0),
    ("B-city O B-time", "B-city O B-day", 0.5),
    ("I-time I-city O", "B-time B-city O", 1.0),
    ("O O O", "O O O", 0.0),
    ("O B-city I-city", "O B-city O", 0.0),  # ends too early
  ],
)
def test_spans_by_hand(true, decided, f1):
  y, own = (np.array([[TAGS.index(tag) for tag in tags.split()]]) for tags in (true, decided))
  assert micro_f1([true.split()], [decided.split()]) == f1
  assert scores(task, own, {"y": y, "x": {"segments": np.ones_like(y)}}, (0, 1))["span_f1"] == pytest.approx(f1)


def test_positions_without_a_label_are_left_out_of_spans():
  """As if those before and behind were neighbours, as where words are cut into pieces."""
  segments, labels, decided = random_rows(RNG)
  mask = (RNG.random(labels.shape) < 0.7).astype(np.float32)
  masked = mtl.tasks.tagging("y", len(TAGS), classes=TAGS, scheme="bio", segments=("x", "segments"), mask="m")
  dirty = np.where(mask > 0, labels, 99).astype(np.int32)
  batch = {"y": dirty, "m": mask, "x": {"segments": segments}}
  masked.check("t", batch)
  counted = (mask > 0) & (segments > 0)
  want = micro_f1(*(sentences_of(segments, tags, counted) for tags in (labels, decided)))
  assert scores(masked, decided, batch, (0, SENTENCES))["span_f1"] == pytest.approx(want, abs=1e-6)
  none = {"y": np.full_like(labels, -1), "m": mask, "x": {"segments": segments}}
  assert all(np.isnan(value) for value in scores(masked, decided, none, (0, SENTENCES)).values())


def test_weights_count_spans():
  y, own = np.array([[1, 2, 0], [1, 0, 3]]), np.array([[1, 2, 0], [1, 0, 5]])
  weighted = mtl.tasks.tagging("y", len(TAGS), classes=TAGS, scheme="bio", weight="w")
  found = scores(weighted, own, {"y": y, "w": np.float32([3, 1])}, (0, 1, 2))
  assert found["span_f1"] == pytest.approx(2 * 4 / (5 + 5))


@pytest.mark.parametrize("ignore", [-1, 255])
def test_the_loss_is_the_mean_over_labelled_positions(ignore):
  _, labels, _ = random_rows(RNG)
  logits = RNG.normal(size=(*labels.shape, len(TAGS))).astype(np.float32)
  factors = np.array([1.0, 0.5, 2.0, 1.0, 0.0, 3.0])
  y = labels if ignore == -1 else np.where(labels < 0, 255, labels).astype(np.uint8)
  own = mtl.tasks.tagging("y", len(TAGS), ignore=ignore, class_weights=factors.tolist())
  losses = -np.take_along_axis(log_softmax(logits, axis=-1), np.maximum(labels, 0)[..., None], -1)[..., 0]
  losses *= factors[np.maximum(labels, 0)]
  found, gradient = jax.value_and_grad(lambda p: mtl.tasks.loss.masked_mean("t", own, p, {"y": y}))(logits)
  assert found == pytest.approx(losses[labels >= 0].mean(), rel=1e-5)
  assert not np.asarray(gradient)[labels < 0].any() and np.asarray(gradient)[labels >= 0].any()
  assert own.main_metric == "accuracy" and list(own.metrics) == ["accuracy"]


def test_what_is_said_of_a_prediction_ends_at_padding():
  head = mtl.from_linen(mtl.nn.TokenHead(len(TAGS)))
  x = {"x": jnp.asarray(RNG.normal(size=(2, 5, 3)), jnp.float32), "mask": jnp.arange(5)[None] < jnp.array([[5], [2]])}
  params, state = head.init(jax.random.key(0), x)
  outputs = task.output(head.apply(params, state, x)[0])
  assert [len(task.record({"class": row})) for row in outputs["class"]] == [5, 2]
  assert set(task.record({"class": outputs["class"][0]})) <= set(TAGS)
  numbered = mtl.tasks.tagging("y", 3)
  assert numbered.record({"class": np.array([2, 0, -1])}) == ["2", "0"]


Y = np.array([[0, 1, -1], [2, -1, -1]])
X = {"segments": np.array([[1, 1, 0], [1, 0, 0]])}


@pytest.mark.parametrize(
  ("arrays", "line"),
  [
    ({"y": Y[0], "x": X}, r"label 'y' has shape \(3,\), expected \(N, L\)"),
    ({"y": Y.astype(np.float32), "x": X}, "has dtype float32, expected integers"),
    ({"y": np.where(Y == 2, 6, Y), "x": X}, r"holds 6 in example 1, expected classes in \[0, 5\], and -1"),
    ({"y": np.full_like(Y, -1), "x": X}, "label 'y' is missing everywhere"),
    ({"y": Y, "x": {"tokens": Y}}, "no segments of task 'slots' 'x/segments': 'x' has no entry 'segments', only 'tok"),
    ({"y": Y, "x": Y}, "'x' has no entry 'segments', which is one array"),
    ({"y": Y, "x": {"segments": Y[:, :2]}}, r"segments 'x/segments' are int64 \(2, 2\), expected integers \(2, 3\)"),
  ],
)
def test_labels_that_are_refused(arrays, line):
  with pytest.raises(mtl.UserError, match=f"task 'slots'.*{line}|{line}") as error:
    task.check("slots", arrays)
  assert "\n" not in str(error.value)


@pytest.mark.parametrize(
  ("logits", "y", "line"),
  [
    (np.zeros((2, 4, 6)), Y, r"label 'y' has shape \(2, 4, 6\), expected \(2, 3, 6\): logits at each position"),
    (np.zeros((2, 3, 6)), Y.astype(np.float32), "label 'y' has dtype float32, expected integers"),
  ],
)
def test_predictions_of_another_size(logits, y, line):
  with pytest.raises(mtl.UserError, match=line):
    task.loss(logits.astype(np.float32), {"y": y})
  with pytest.raises(mtl.UserError, match=r"span_f1: tags are \(2, 4\), labels \(2, 3\) and segments \(2, 3\)"):
    task.metrics["span_f1"].of_batch(np.zeros((2, 4, 6)), Y, np.ones((2, 3)), {"x": X})


@pytest.mark.parametrize(
  ("make", "line"),
  [
    (lambda: mtl.tasks.tagging("y", 1), "tagging of 'y': num_classes is 1, expected at least 2"),
    (lambda: mtl.tasks.tagging("y", 3, classes=["a"]), r"classes are \['a'\], expected 3 names"),
    (lambda: mtl.tasks.tagging("y", 2, scheme="bioes"), "tagging of 'y': unknown scheme 'bioes'.*: choose from bio"),
    (lambda: mtl.tasks.tagging("y", 2, scheme="bio"), "scheme is 'bio' and classes None, expected the names"),
    (lambda: mtl.tasks.tagging("y", 2, segments="s"), "segments is 's' without a scheme"),
    (
      lambda: mtl.tasks.tagging("y", 2, scheme="bio", classes=["O", "city"]),
      "class 1 is 'city', expected tags O, B-type and I-type",
    ),
  ],
)
def test_options_out_of_range(make, line):
  with pytest.raises(mtl.UserError, match=line):
    make()
