"""Many tasks that are equal run as one batch: every engine gives what it gives of the tasks apart."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mtl_jax as mtl
from mtl_jax._core.packed import FROM, groups_of, is_packed, packed
from mtl_jax.engine.linearize import linearize

NAMES = [f"t{i:02d}" for i in range(FROM)]
WEIGHTS = jnp.linspace(0.5, 1.5, FROM)
WATCHED = mtl.balance.equal()._replace(
  needs=frozenset({"losses", "gram"}), weigh=lambda stats, state: (WEIGHTS, stats.gram)
)
ENGINES = {
  "stacked": mtl.engine.stacked(),
  "batched": mtl.engine.stacked(one_by_one=False),
  "gram": mtl.engine.gram(),
  "factored": mtl.engine.factored(),
  "in turn": mtl.engine.factored(one_by_one=True),
  "sketched": mtl.engine.sketched(2**14),
}


def problem(kind):
  """Tasks with means of their own, on one input or on inputs of their own; one more of another kind; masks."""
  rng = np.random.default_rng(0)
  draw = lambda *shape: jnp.asarray(rng.normal(size=shape), jnp.float32)  # noqa: E731
  own = kind == "own inputs"
  tasks = {n: mtl.tasks.regression(f"{n}/y", mean=float(i) / 9, std=1.0 + i / 9) for i, n in enumerate(NAMES)}
  heads = {n: mtl.from_linen(mtl.nn.MLP((3,), 1)) for n in NAMES}
  inputs = {n: f"{n}/x" if own else "x" for n in NAMES}
  batch = {f"{n}/y": draw(4) for n in NAMES} | ({f"{n}/x": draw(4, 5) for n in NAMES} if own else {"x": draw(4, 5)})
  if kind == "masks and another":
    tasks = {n: mtl.tasks.regression(f"{n}/y", mask=f"{n}/m") for n in NAMES}
    batch |= {f"{n}/m": jnp.asarray(rng.integers(0, 2, 4), jnp.float32).at[0].set(1) for n in NAMES}
    tasks = {"kind": mtl.tasks.classification("kind", num_classes=3), **tasks}
    heads["kind"] = mtl.from_linen(mtl.nn.MLP((), 3))
    inputs["kind"] = "x"
    batch["kind"] = jnp.array([0, 1, 2, 0])
  net = mtl.arch.hard_sharing(mtl.from_linen(mtl.nn.MLP((6,), 4)), heads)
  return mtl.objective(net, tasks, inputs), net.init(jax.random.key(1), draw(4, 5)), batch


def together(tree, axis=0):
  return packed(tree, groups_of(tree), axis)


@pytest.mark.parametrize("kind", ["one input", "own inputs", "masks and another"])
@pytest.mark.slow
def test_engines_give_what_they_give_apart(kind):
  objective, (params, state), batch = problem(kind)
  names = objective.names
  weights = jnp.linspace(0.5, 1.5, len(names))
  watched = WATCHED._replace(weigh=lambda stats, state: (weights, stats.gram))

  def losses(shared, task):
    by_name, _ = objective({"shared": shared, "task": task}, state, batch)
    return jnp.stack([by_name[name] for name in names])

  rows = jax.jit(jax.jacrev(losses))(params["shared"], params["task"])
  flat = np.concatenate([np.reshape(leaf, (len(names), -1)) for leaf in jax.tree.leaves(rows)], axis=1)
  heads = jax.jit(jax.grad(lambda task: weights @ losses(params["shared"], task)))(params["task"])
  gradient = jax.tree.map(lambda leaf: np.tensordot(weights, leaf, 1), rows)
  packs = together(params["task"])
  assert is_packed(packs) and sum(len(group) == FROM for group in packs.groups) == 1

  def run(batch):
    own = {"shared": params["shared"], "task": packs}
    task_state = packed(state["task"], packs.groups)
    linear = linearize(objective, own, {"shared": state["shared"], "task": task_state}, batch, None)
    found = {name: engine.run(linear, watched, None, engine.init(len(names)))[::2] for name, engine in ENGINES.items()}
    found["losses"] = mtl.engine.losses().run(linear, watched, None, ())[0], None
    return found, linear.pull_heads(weights), linear.losses

  found, at_heads, values = jax.jit(run)(together(batch, axis=1))
  np.testing.assert_allclose(values, losses(params["shared"], params["task"]), rtol=1e-5)
  for one, other in zip(jax.tree.leaves(dict(at_heads)), jax.tree.leaves(heads), strict=True):
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
  for name, (update, gram) in found.items():
    for one, other in zip(jax.tree.leaves(update), jax.tree.leaves(gradient), strict=True):
      np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5, err_msg=name)
    if gram is not None:
      scale = np.sqrt(np.outer(*[np.square(flat).sum(axis=1)] * 2))
      np.testing.assert_allclose(gram / scale, flat @ flat.T / scale, atol=2e-5, err_msg=name)


@pytest.mark.slow
def test_a_program_does_not_grow_with_the_tasks():
  """Twice the tasks, as many operations but for what opens batch and keys: no loop over tasks is unrolled."""

  def size(count):
    names = [f"t{i:02d}" for i in range(count)]
    net = mtl.arch.hard_sharing(
      mtl.from_linen(mtl.nn.MLP((), 4)), {n: mtl.from_linen(mtl.nn.MLP((3,), 1)) for n in names}
    )
    tasks = {n: mtl.tasks.regression(n) for n in names}
    params, state = net.init(jax.random.key(0), jnp.ones((4, 5)))
    packs = together(params["task"])
    own = {"shared": params["shared"], "task": packs}
    task_state = {"shared": state["shared"], "task": packed(state["task"], packs.groups)}
    batch = together({"x": jnp.ones((4, 5)), **{n: jnp.ones(4) for n in names}}, axis=1)
    losses, balancer = mtl.objective(net, tasks), mtl.balance.mgda()

    def run(batch):
      linear = linearize(losses, own, task_state, batch, None)
      return mtl.engine.gram().run(linear, balancer, balancer.init(count), ())[0]

    return len(jax.jit(run).lower(batch).as_text().splitlines())

  assert size(48) <= 1.05 * size(24)
