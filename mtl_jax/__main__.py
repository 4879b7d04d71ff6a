"""`python -m mtl_jax` is `mtl-jax`."""

import sys

from mtl_jax.cli import main

if __name__ == "__main__":
  sys.exit(main())
