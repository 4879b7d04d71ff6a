"""Images of ten kinds of clothes, turned: which kind it is, and by how many quarters it was turned."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

import mtl_jax as mtl


def stand_in(count, seed):
  """In place of your files: images (count, 28, 28, 1) in [0, 1] and their kinds (count,), 0 to 9."""
  rng, patterns = np.random.default_rng(seed), np.random.default_rng(0).uniform(size=(10, 7, 7))
  kind = rng.integers(10, size=count)
  image = patterns[kind].repeat(4, axis=1).repeat(4, axis=2) + rng.normal(scale=0.3, size=(count, 28, 28))
  return {"image": image.clip(0, 1)[..., None].astype(np.float32), "kind": kind}


def turned(batch, key):
  """The second task makes its own labels: turn each image by 0 to 3 quarters, and write down by how many."""
  image = jnp.asarray(batch["image"])
  turn = jax.random.randint(key, image.shape[:1], 0, 4)
  turns = jnp.stack([jnp.rot90(image, quarters, axes=(1, 2)) for quarters in range(4)])
  return {**batch, "image": turns[turn, jnp.arange(len(turn))], "turn": turn}


def augmented(batch, key):
  """What a batch of training goes through: each image is moved by up to two pixels, and turned."""
  move_key, turn_key = jax.random.split(key)
  moves = jax.random.randint(move_key, (len(batch["image"]), 2), -2, 3)
  moved = jax.vmap(lambda image, move: jnp.roll(image, move, axis=(0, 1)))(batch["image"], moves)
  return turned({**batch, "image": moved}, turn_key)


train = {**stand_in(2000, 1), "turn": np.zeros(2000, np.int32)}  # the transform writes the turns
valid = turned(stand_in(500, 2), jax.random.key(0))
tasks = {"kind": mtl.tasks.classification("kind", 10), "turn": mtl.tasks.classification("turn", 4)}
heads = {"kind": mtl.from_linen(nn.Dense(10)), "turn": mtl.from_linen(nn.Dense(4))}
net = mtl.arch.hard_sharing(mtl.from_linen(mtl.nn.CNN((8, 16), features=32)), heads)

balancer, tx = mtl.balance.pcgrad(), optax.adam(3e-3)
run = mtl.fit(net, tasks, balancer, tx, train, valid=valid, inputs="image", transform=augmented, steps=300)
scores = mtl.train.make_evaluate(net, tasks, inputs="image")(run.params, run.net_state, valid)
print({name: round(scores[name]["accuracy"], 3) for name in tasks})
