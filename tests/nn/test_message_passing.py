"""Message passing: formula, and the order of nodes."""

import dataclasses

import jax
import numpy as np
import pytest

import mtl_jax as mtl
from tests.nn._table import TABLE, filled, inputs, weighted


@pytest.mark.parametrize("name", ["graphs", "graphs vectors"])
def test_the_order_of_nodes_does_not_count(name):
  x = inputs(TABLE[name].x, lengths=(6, 6, 6))
  apply, params, state = weighted(TABLE[name].module, x)
  order = np.array([3, 0, 5, 1, 4, 2])
  other = {"nodes": x["nodes"][:, order], "edges": x["edges"][:, order][:, :, order], "mask": x["mask"]}
  np.testing.assert_allclose(apply(params, state, x)[0], apply(params, state, other)[0], rtol=1e-4, atol=1e-5)
  assert not np.allclose(apply(params, state, x)[0], apply(params, state, x | {"edges": other["edges"]})[0], rtol=0.01)


@pytest.mark.parametrize("name", ["graphs", "graphs vectors"])
def test_layer_is_the_formula(name):
  """Node by node and edge by edge."""
  module = TABLE[name].module
  first, layer, *_ = mtl.nn.stages(module)
  x = inputs(TABLE[name].x)
  x["edges"] = x["edges"] * (inputs((3, 6, 6))[..., *[None] * (x["edges"].ndim - 3)] > 0.3).astype(x["edges"].dtype)
  given, _ = first.apply(*filled(first, x), x)
  params, state = filled(layer, given)
  found = jax.jit(layer.apply)(params, state, given)[0]["nodes"]
  own = jax.tree.map(np.asarray, params["layer_0"])
  nodes, edges, mask = np.asarray(given["nodes"]), np.asarray(x["edges"]), np.asarray(x["mask"])
  z = nodes - nodes.mean(axis=-1, keepdims=True)
  z = z / np.sqrt((z**2).mean(axis=-1, keepdims=True) + 1e-6) * own["norm"]["scale"] + own["norm"]["bias"]
  for b in range(3):
    for v in np.flatnonzero(mask[b]):
      total = (1 + own["epsilon"]) * z[b, v]
      for u in np.flatnonzero(mask[b]):
        edge = edges[b, v, u]
        if np.any(edge):
          made = (
            own["edges"]["embedding"][edge] if edge.ndim == 0 else edge @ own["edges"]["kernel"] + own["edges"]["bias"]
          )
          total = total + np.maximum(z[b, u] + made, 0)
      hidden = np.maximum(total @ own["Dense_0"]["kernel"] + own["Dense_0"]["bias"], 0)
      expected = nodes[b, v] + hidden @ own["Dense_1"]["kernel"] + own["Dense_1"]["bias"]
      np.testing.assert_allclose(found[b, v], expected, rtol=1e-4, atol=1e-4)


def test_sums_count_nodes_and_means_do_not():
  """Of two equal parts without an edge between them, in place of one."""
  one = {"nodes": np.full((1, 1), 2, np.int32), "edges": np.zeros((1, 1, 1), np.int32)}
  two = {"nodes": np.full((1, 2), 2, np.int32), "edges": np.zeros((1, 2, 2), np.int32)}
  for pool, factor in (("sum", 2), ("mean", 1)):
    module = dataclasses.replace(TABLE["graphs"].module, pool=pool)
    apply, params, state = weighted(module, one)
    np.testing.assert_allclose(apply(params, state, two)[0], factor * apply(params, state, one)[0], rtol=1e-5)
