"""The command line, `mtl-jax` or `python -m mtl_jax`: one command per file."""

from mtl_jax.cli.main import main as main
from mtl_jax.cli.main import run as run
