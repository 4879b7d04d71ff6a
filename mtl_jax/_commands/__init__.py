"""The commands of `mtl-jax`: each a dataclass of its options, which make its help text, and what it does."""

from mtl_jax._commands._training import Own as Own
from mtl_jax._commands.compare import Compare
from mtl_jax._commands.plan import Plan
from mtl_jax._commands.recipes import Recipes
from mtl_jax._commands.train import Train
from mtl_jax._commands.trained import Evaluate, Predict

COMMANDS = {
  "train": Train,
  "compare": Compare,
  "plan": Plan,
  "evaluate": Evaluate,
  "predict": Predict,
  "recipes": Recipes,
}
