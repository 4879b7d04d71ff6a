"""Inner products of kernel gradients from their factors, without the gradients, and what they cost."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mtl_jax._core import devices
from mtl_jax._core.gram import inner_products
from mtl_jax._core.pieces import even, in_pieces
from mtl_jax.engine._backward.backward import Backward
from mtl_jax.engine._backward.layers import Product

_MADE = 2**21  # numbers made at a time on CPU on the way to inner products: of full speed, and no more with more tasks


def pays(groups: list[list[Product]], counts: list[list[int]]) -> bool:
  """Whether inner products from the factors cost less than the rows and their inner products.

  Args:
    groups: For each program the products that make the kernel's gradient.
    counts: For each program the number of tasks of each of its forward passes.

  Returns:
    Whether. Only multiplications count; inner products, which G needs exactly, are of highest precision either way.
  """
  return factor_work(groups, counts) < row_work(groups, counts)


def row_work(groups: list[list[Product]], counts: list[list[int]]) -> int:
  """The multiplications of all rows and their inner products."""
  (_, width, out), passes = groups[0][0].sizes, groups[0][0].passes
  made = sum(sum(c) * m * width * out for c, m in zip(counts, _examples(groups), strict=True))
  return groups[0][0].blocks * (made + passes * sum(map(sum, counts)) ** 2 * width * out)


def factor_work(groups: list[list[Product]], counts: list[list[int]]) -> int:
  """Those of the inner products from the factors, over all pairs of forward passes."""
  (_, width, out), each = groups[0][0].sizes, _examples(groups)
  n, t = np.array([(m, tasks) for m, own in zip(each, counts, strict=True) for tasks in own], np.int64).T
  through = n * (width * np.cumsum(n) + out * np.cumsum(n * t))
  per_block = groups[0][0].passes * int(np.sum(through + t * n * out * np.cumsum(t))) * devices.count()
  return groups[0][0].blocks * per_block


def _examples(groups: list[list[Product]]) -> list[int]:
  return [sum(product.sizes[0] for product in products) for products in groups]


def task_axis(product: Product) -> int:
  """Where the tasks of D are best stacked: behind the examples, so that no product transposes them."""
  first = (*product.apart[1], *product.axes[1])
  return len(first) if first == tuple(range(len(first))) else 1


def factors(backward: Backward, products: list[Product]) -> tuple[jax.Array, jax.Array]:
  """A, (n, in), and all D, (n, T, out), of the layers that use a kernel, one after the other along n.

  Where each task has a forward pass of its own, so is A: (n, T, in). Of K blocks both have K as a further, first axis.
  """
  own, joined = bool(backward.program.own), int(products[0].blocks > 1)
  inputs = backward.of_all if own else backward.get
  a = [_examples_first(inputs(product.inputs), product, 0, own) for product in products]
  d = [_examples_first(backward.get(product.cotangents), product, 1, 1) for product in products]
  return jnp.concatenate(a, axis=joined), jnp.concatenate(d, axis=joined)


def _examples_first(x: jax.Array, product: Product, factor: int, tasks: int) -> jax.Array:
  """Merges the axes summed over, and all others; between them goes that of the tasks, the first, if there is one.

  Those of several blocks are merged into one in front.
  """
  apart, summed = ([axis + tasks for axis in axes[factor]] for axes in (product.apart, product.axes))
  others = [axis for axis in range(tasks, x.ndim) if axis not in (*apart, *summed)]
  shape = [x.shape[axis] for axis in range(tasks)]
  x = jnp.transpose(x, [*apart, *summed, *range(tasks), *others])
  blocks = [product.blocks] if product.blocks > 1 else []
  return x.reshape(*blocks, product.sizes[0], *shape, product.sizes[1 + factor])


def factored_gradient(
  product: Product, groups: list[tuple[jax.Array, jax.Array]], weights: list[jax.Array]
) -> jax.Array:
  r"""$A^T \sum_t w_t D_t$, in the kernel's shape; `product` is any of its products."""

  def weighted(groups):
    made = []
    for (a, d), w in zip(groups, weights, strict=True):
      if a.ndim == d.ndim:  # of each task its own
        made.append((_flat(a), _flat(d * w.astype(d.dtype)[:, None])))
      else:
        made.append((a, jnp.einsum("nto,t->no", d, w.astype(d.dtype), precision="highest")))
    return tuple(map(jnp.concatenate, zip(*made, strict=True)))

  return product.kernel(*(weighted if product.blocks == 1 else jax.vmap(weighted))(groups))


def factored_products(groups: list[tuple[jax.Array, jax.Array]], blocks: int = 1) -> jax.Array:
  r"""$\langle A_i^T D_s, A_j^T D_t \rangle = \sum D_s \odot (A_i A_j^T D_t)$ for the tasks s, t of all groups i, j.

  Summed over the blocks, if the factors are those of several.
  """
  return _over_blocks(_factored_products, groups, blocks)


def _over_blocks(products: Callable[..., jax.Array], groups: Any, blocks: int) -> jax.Array:
  return products(groups) if blocks == 1 else jnp.sum(jax.vmap(products)(groups), axis=0)


def _factored_products(groups: list[tuple[jax.Array, jax.Array]]) -> jax.Array:
  if all(d.shape[1] == 1 or a.ndim == d.ndim for a, d in groups):
    return _one_task_each(groups, devices.gather(groups))
  groups = [one for group in groups for one in _alone(*group)]
  everywhere = devices.gather(groups)  # a device's own examples meet those of all
  blocks: list[list[Any]] = [[None] * len(groups) for _ in groups]
  for i, (a, d) in enumerate(groups):
    for j, (b, e) in enumerate(everywhere[: i + 1]):
      kernel = jnp.matmul(a, b.T, precision="highest", preferred_element_type=jnp.float32)
      blocks[i][j] = _through(kernel, d, e)
      blocks[j][i] = blocks[i][j].T
  return jnp.block(blocks)


def _one_task_each(
  groups: list[tuple[jax.Array, jax.Array]], everywhere: list[tuple[jax.Array, jax.Array]]
) -> jax.Array:
  r"""The same where each task has its own examples: $A A^T \odot D D^T$ over all, summed over each two tasks'."""
  exact = functools.partial(jnp.matmul, precision="highest", preferred_element_type=jnp.float32)
  (a, d), (b, e) = (
    [jnp.concatenate([_flat(x) for x in factor]) for factor in zip(*some, strict=True)] for some in (groups, everywhere)
  )
  tasks = sum(d.shape[1] for _, d in groups)
  left, right = (jax.nn.one_hot(_owners(some), tasks) for some in (groups, everywhere))
  return exact(left.T, exact(exact(a, b.T) * exact(d, e.T), right))


def _flat(x: jax.Array) -> jax.Array:
  """The examples of all tasks, (n, ...) or (n, T, ...), one after the other."""
  return x.reshape(-1, x.shape[-1])


def _owners(groups: list[tuple[jax.Array, jax.Array]]) -> np.ndarray:
  """The task of each of all examples."""
  each, first = [], 0
  for _, d in groups:
    each.append(np.tile(np.arange(first, first + d.shape[1]), len(d)))
    first += d.shape[1]
  return np.concatenate(each)


def _alone(a: jax.Array, d: jax.Array) -> list[tuple[jax.Array, jax.Array]]:
  """The factors as those of one forward pass each."""
  return [(a, d)] if a.ndim < d.ndim else [(a[:, i], d[:, i : i + 1]) for i in range(d.shape[1])]


def _through(kernel: jax.Array, left: jax.Array, right: jax.Array) -> jax.Array:
  """The inner products of (n, S, out) and the (n, m) matrix times (m, T, out), for some of the T at a time on CPU."""
  (n, count, out), tasks = left.shape, right.shape[1]
  left = left.astype(jnp.float32)

  def some(start, size, total):
    part = jax.lax.dynamic_slice_in_dim(right, start, size, 1).astype(jnp.float32)
    product = jnp.einsum("nm,mto->nto", kernel, part, precision="highest")
    return jax.lax.dynamic_update_slice_in_dim(total, inner_products(left, product, axis=1), start, 1)

  size = even(tasks, max(_MADE // (n * out), 1)) if devices.on_one_cpu() else tasks
  return in_pieces(tasks, size, some, jnp.zeros((count, tasks), jnp.float32))


def row_products(groups: list[tuple[jax.Array, jax.Array]], blocks: int = 1) -> jax.Array:
  """The inner products of all A^T D, made and reduced for some of A's columns at a time."""
  return _over_blocks(_row_products, groups, blocks)


def _row_products(groups: list[tuple[jax.Array, jax.Array]]) -> jax.Array:
  groups = [(a.astype(jnp.float32), d.astype(jnp.float32)) for a, d in groups]
  width, tasks, out = groups[0][0].shape[-1], sum(d.shape[1] for _, d in groups), groups[0][1].shape[2]

  def some(start, size, total):
    columns = [jax.lax.dynamic_slice_in_dim(a, start, size, a.ndim - 1) for a, _ in groups]
    products = [
      jnp.einsum("ni,nto->ito" if a.ndim < d.ndim else "nti,nto->ito", a, d, precision="highest")
      for a, (_, d) in zip(columns, groups, strict=True)
    ]
    rows = jnp.concatenate(products, axis=1)
    return total + inner_products(rows, rows, axis=1)

  size = even(width, max(_MADE // (tasks * out), 1))
  return in_pieces(width, size, some, jnp.zeros((tasks, tasks), jnp.float32))
