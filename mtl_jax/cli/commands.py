"""The commands of `mtl-jax`: each a dataclass of its options, which make its help text, and what it does."""

from collections.abc import Sequence

from mtl_jax.cli.compare import Compare
from mtl_jax.cli.describe import Describe
from mtl_jax.cli.export import Export
from mtl_jax.cli.plan import Plan
from mtl_jax.cli.recipes import Recipes
from mtl_jax.cli.reproduce import Reproduce
from mtl_jax.cli.serve import Serve
from mtl_jax.cli.table import Table
from mtl_jax.cli.train import Train
from mtl_jax.cli.trained import Evaluate, Predict
from mtl_jax.cli.training import Dotted as Dotted

COMMANDS = {
  "train": Train,
  "compare": Compare,
  "describe": Describe,
  "plan": Plan,
  "evaluate": Evaluate,
  "predict": Predict,
  "export": Export,
  "serve": Serve,
  "reproduce": Reproduce,
  "recipes": Recipes,
}


def commands_for(words: Sequence[str]) -> dict[str, type]:
  """The commands, where these words are given: with `--table`, `train` trains on a table."""
  return {**COMMANDS, "train": Table} if "--table" in words else dict(COMMANDS)
