"""MetaBalance against its formula in numpy."""

import inspect

import numpy as np
import pytest

import mtl_jax as mtl
from tests.balance._sequence import gradients, run_steps


@pytest.mark.parametrize(
  ("strategy", "bound"), [("both", lambda r: r), ("reduce", lambda r: r.clip(max=1)), ("enlarge", lambda r: r.clip(1))]
)
@pytest.mark.parametrize("main", [0, 2])
def test_weights_by_hand(strategy, bound, main):
  j = gradients(6, 4) * np.array([1.0, 8.0, 1.0, 0.1], np.float32)[:, None]
  updates, weights, _ = run_steps(mtl.balance.metabalance(main=main, relax=0.6, beta=0.8, strategy=strategy), j)
  m, seen = np.zeros(4), []
  for g, update, found in zip(j.astype(np.float64), updates, weights, strict=True):
    m = 0.8 * m + 0.2 * np.linalg.norm(g, axis=1)
    expected = 0.6 * bound(m[main] / m) + 0.4
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    np.testing.assert_allclose(update, expected @ g, rtol=1e-3, atol=1e-4)
    seen.append(expected)
  assert np.ptp(seen) > 0.1
  np.testing.assert_array_equal(weights[:, main], 1.0)


def test_relax_from_nothing_to_equal_lengths():
  j = gradients(1, 3)
  np.testing.assert_array_equal(run_steps(mtl.balance.metabalance(relax=0.0), j)[1], 1.0)
  lengths = np.linalg.norm(j[0], axis=1)
  _, weights, _ = run_steps(mtl.balance.metabalance(relax=1.0), j)
  np.testing.assert_allclose(weights[0] * lengths, lengths[0], rtol=1e-4)


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"relax": 1.5}, "relax is 1.5"),
    ({"beta": 1.0}, "beta 1.0"),
    ({"strategy": "bot"}, "unknown strategy 'bot' .did you mean 'both'"),
    ({"main": -1}, "main is -1, expected from 0 to 2"),
  ],
)
def test_mistakes(options, message):
  with pytest.raises(mtl.UserError, match=message):
    inspect.unwrap(mtl.balance.metabalance)(**options).init(3)  # without the tests' type checks
