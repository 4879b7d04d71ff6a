"""Names and layouts of other libraries."""

import numpy as np
import pytest

from mtl_jax import UserError, transfer

W = {"conv.weight": np.arange(24).reshape(4, 3, 2, 1), "bn.running_mean": np.ones(4), "bn.count": np.zeros(())}
MAPPING = {
  r"(\w+)\.weight": (r"params/\1/kernel", "OIHW -> HWIO"),
  r"(\w+)\.running_(\w+)": r"state/batch_stats/\1/\2",
  r".*count": None,
}


def test_paths_and_axes():
  params, state = transfer.renamed(W, MAPPING)
  assert params["conv"]["kernel"].shape == (2, 1, 3, 4)
  assert params["conv"]["kernel"][1, 0, 2, 3] == W["conv.weight"][3, 2, 1, 0]
  assert list(state["batch_stats"]["bn"]) == ["mean"] and list(params) == ["conv"]


@pytest.mark.parametrize(
  ("weights", "mapping", "message"),
  [
    (W | {"fc.bias": np.ones(2)}, MAPPING, "no pattern matches fc.bias: add one, with None to leave them out"),
    (W, MAPPING | {r"fc\..*": None}, "matches nothing: there are conv.weight"),
    (W, MAPPING | {r"(": None}, r"'\(' is no regular expression"),
    (W, MAPPING | {r"(\w+)\.running_(\w+)": "batch_stats/mean"}, "leads to 'batch_stats/mean', expected a path"),
    (W | {"b.running_mean": np.ones(4)}, MAPPING | {r"(\w+)\.running_.*": "state/mean"}, "two arrays go to"),
    (W, MAPPING | {r"(\w+)\.weight": (r"params/\1", "OI -> IO")}, r"shape \(4, 3, 2, 1\), expected the axes OI"),
    (W, MAPPING | {r"(\w+)\.weight": (r"params/\1", "OIHW -> HWI")}, "the layout 'OIHW -> HWI' is none"),
  ],
)
def test_mistakes(weights, mapping, message):
  if "running_.*" in "".join(mapping):
    mapping = {pattern: mapping[pattern] for pattern in reversed(mapping)}
    mapping.pop(r"(\w+)\.running_(\w+)")
  with pytest.raises(UserError, match=message):
    transfer.renamed(weights, mapping)


def test_partial():
  params, _ = transfer.renamed(W | {"fc.bias": np.ones(2)}, MAPPING, partial=True)
  assert list(params) == ["conv"]
