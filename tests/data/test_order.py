"""The order of examples: an endless stream of epochs, wherever one begins."""

import pickle

import numpy as np

from mtl_jax.data._order import Order


def test_the_stream_is_the_same_however_it_is_cut():
  whole = Order(7, 3)(0, 30)
  again = pickle.loads(pickle.dumps(Order(7, 3)))
  for start, stop in [(20, 30), (0, 5), (5, 20), (6, 8), (13, 13)]:
    np.testing.assert_array_equal(again(start, stop), whole[start:stop])


def test_numbers_tell_the_epoch():
  numbers = Order(7, 3)(0, 28).reshape(4, 7)
  assert (numbers // 7 == np.arange(4)[:, None]).all()
  assert (np.sort(numbers % 7) == np.arange(7)).all()
  assert Order(7, None)(5, 9).tolist() == [5, 6, 7, 8]
