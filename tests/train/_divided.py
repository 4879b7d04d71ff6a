"""Prints the checksum of one array on one device and on eight, divided in several ways."""

import json

import jax
import jax.numpy as jnp
import numpy as np

from mtl_jax.train._checksum import checksums


def main():
  mesh = jax.make_mesh((4, 2), ("a", "b"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
  x = np.random.default_rng(0).normal(size=(8, 6)).astype(np.float32)
  specs = [jax.P(), jax.P("a"), jax.P(None, "b"), jax.P(("a", "b"))]
  placed = [jnp.asarray(x), *(jax.device_put(x, jax.sharding.NamedSharding(mesh, spec)) for spec in specs)]
  print(json.dumps([checksums({"x": array})["x"] for array in placed]))


if __name__ == "__main__":
  main()
