"""`python -m mtl_jax` is `mtl-jax`."""

from mtl_jax.cli import run

if __name__ == "__main__":
  run()
