"""Balancing of sparse gates: losses that are small where all experts have work, and a bias that sees to it.

- `switch`: shares of the examples times mean probabilities.
- `importance`: how unequal the experts' total weights are.
- `load`: how unequal the numbers of examples are that experts would get with other noise.
- `expected_load`: how probable it is that an expert gets an example.
- `z`: how large logits are.
- `moved_bias`: the bias that balances without a loss.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

__all__ = ["expected_load", "importance", "load", "moved_bias", "switch", "z"]


def switch(probabilities: Float[Array, "B E"], chosen: Float[Array, "B E"]) -> Float[Array, ""]:
  r"""The balancing loss of Switch Transformers.

  $$ R = E \sum_e f_e P_e, \qquad f_e = \frac{1}{k B} \sum_b c_{be}, \quad P_e = \frac{1}{B} \sum_b p_{be} $$

  Args:
    probabilities: p, the softmax of the logits.
    chosen: c, 1 for the k experts that an example gets and 0 for the others. It has no gradient.

  Returns:
    R, 1 where all experts have equal shares.

  >>> p = jnp.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]])
  >>> round(float(switch(p, jnp.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))), 4)
  1.0444

  References:
    Fedus, Zoph, Shazeer, *Switch Transformers: Scaling to Trillion Parameter Models with Simple and Efficient
    Sparsity*, JMLR 2022.
  """
  share = jnp.mean(jax.lax.stop_gradient(chosen), axis=0)
  return probabilities.shape[1] * jnp.sum(share / jnp.sum(share) * jnp.mean(probabilities, axis=0))


def importance(weights: Float[Array, "B E"]) -> Float[Array, ""]:
  r"""The squared coefficient of variation of the experts' total weights.

  $$ R = Var_e\big(\sum_b g_{be}\big) \big/ Mean_e\big(\sum_b g_{be}\big)^2 $$

  Args:
    weights: g, with 0 for experts that an example does not get.

  Returns:
    R, 0 where all are equal.

  >>> float(importance(jnp.array([[1.0, 0.0], [1.0, 0.0], [1.0, 1.0]])))
  0.25

  References:
    Shazeer et al., *Outrageously Large Neural Networks: The Sparsely-Gated Mixture-of-Experts Layer*, ICLR 2017.
  """
  total = jnp.sum(weights, axis=0)
  return jnp.var(total) / (jnp.mean(total) ** 2 + 1e-10)


def load(
  clean: Float[Array, "B E"], noisy: Float[Array, "B E"], deviation: Float[Array, "B E"], k: int
) -> Float[Array, ""]:
  """The squared coefficient of variation of the experts' expected numbers of examples, as in `importance`.

  Args:
    clean: The logits without noise.
    noisy: Those with noise, by which experts are chosen.
    deviation: The standard deviation of the noise.
    k: How many experts an example gets.

  Returns:
    The loss, 0 where all are equal.

  >>> even = jnp.zeros((3, 2))
  >>> float(load(even, even, even + 1, k=1))
  0.0

  References:
    Shazeer et al., *Outrageously Large Neural Networks: The Sparsely-Gated Mixture-of-Experts Layer*, ICLR 2017.
  """
  return importance(expected_load(clean, noisy, deviation, k))


def expected_load(
  clean: Float[Array, "B E"], noisy: Float[Array, "B E"], deviation: Float[Array, "B E"], k: int
) -> Float[Array, "B E"]:
  r"""How probable it is that an expert is among the k of an example, if its noise, and no other, were drawn again.

  $$ P_{be} = \Phi\big((a_{be} - \text{k-th largest of } n_{be'}, e' \neq e) / s_{be}\big) $$

  Args:
    clean: a, the logits without noise.
    noisy: n, those with noise, by which experts are chosen.
    deviation: s, the standard deviation of the noise.
    k: How many experts an example gets.

  Returns:
    P, all 1 where k is E.

  >>> found = expected_load(jnp.array([[1.0, 0.5]]), jnp.array([[1.2, 0.3]]), jnp.ones((1, 2)), k=1)
  >>> found.round(3).tolist()
  [[0.758, 0.242]]

  References:
    Shazeer et al., *Outrageously Large Neural Networks: The Sparsely-Gated Mixture-of-Experts Layer*, ICLR 2017.
  """
  if k == clean.shape[1]:
    return jnp.ones_like(clean)
  largest = jax.lax.top_k(noisy, k + 1)[0]
  kth, next_one = largest[:, k - 1 : k], largest[:, k:]
  threshold = jnp.where(noisy >= kth, next_one, kth)  # without the k largest, the next one is the k-th of the others
  return jax.scipy.stats.norm.cdf((clean - threshold) / deviation)


def z(logits: Float[Array, "B E"]) -> Float[Array, ""]:
  r"""The router z-loss, which keeps logits small, so that their softmax is exact in low precision.

  $$ R = \frac{1}{B} \sum_b \big(\log \sum_e \exp a_{be}\big)^2 $$

  Args:
    logits: a.

  Returns:
    R.

  >>> round(float(z(jnp.array([[1.0, 0.0], [0.0, 0.0]]))), 4)
  1.1026

  References:
    Zoph et al., *ST-MoE: Designing Stable and Transferable Sparse Expert Models*, 2022.
  """
  return jnp.mean(jax.nn.logsumexp(logits, axis=1) ** 2)


def moved_bias(bias: Float[Array, " E"], counts: Float[Array, " E"], rate: float) -> Float[Array, " E"]:
  r"""The bias of loss-free balancing after a step: up for experts with few examples, down for those with many.

  $$ b_e \leftarrow b_e + u \, sign\big(Mean_{e'}(c_{e'}) - c_e\big) $$

  Args:
    bias: b, which is added to the scores by which experts are chosen, and not to their weights.
    counts: c, how many examples each expert had.
    rate: u.

  Returns:
    The new b.

  >>> moved_bias(jnp.zeros(3), jnp.array([6.0, 1.0, 2.0]), 0.5).tolist()
  [-0.5, 0.5, 0.5]

  References:
    Wang et al., *Auxiliary-Loss-Free Load Balancing Strategy for Mixture-of-Experts*, 2024.
  """
  return bias + rate * jnp.sign(jnp.mean(counts) - counts)
