"""Mel bands of waves against scipy, padding, and runs that are dropped."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import signal

import mtl_jax as mtl
from mtl_jax.nn.log_mel import filters

RATE, BANDS = 8000, 20
WAVES = (np.random.default_rng(0).normal(size=(3, 1000)) * 3000).astype(np.int16)
LENGTHS = np.array([1000, 420, 0], np.int32)
stage = mtl.nn.LogMel(RATE, BANDS, normalise=False)


def test_it_is_scipys_spectrum_in_mel_bands():
  found = stage.apply({}, WAVES)
  wave = np.pad(WAVES / 32768, ((0, 0), (0, 300)))
  # "spectrum" divides by the sum of the window, squared; one-sided it doubles all but the first and last frequency.
  frequencies, _, power = signal.spectrogram(
    wave, RATE, signal.windows.hann(200, sym=False), 200, noverlap=100, nfft=256, detrend=False, scaling="spectrum"
  )
  power[:, 1:-1] /= 2
  mel = 2595 * np.log10(1 + frequencies / 700)
  edges = np.linspace(2595 * np.log10(1 + 60 / 700), 2595 * np.log10(1 + 4000 / 700), BANDS + 2)
  hertz = 700 * (10 ** (edges / 2595) - 1)
  want = np.stack([np.interp(frequencies, hertz[i : i + 3], [0, 1, 0]) @ power[:, :, :10] for i in range(BANDS)], -1)
  assert (mel >= 0).all() and found["x"].shape == (3, 10, BANDS) and found["mask"].all()
  np.testing.assert_allclose(found["x"], np.log(want + 1e-8), rtol=1e-4, atol=1e-4)


def test_a_tone_is_in_its_band():
  tone = np.sin(2 * np.pi * 1000 * np.arange(4000) / RATE)[None].astype(np.float32)
  found = np.asarray(stage.apply({}, tone)["x"])[0, 5]
  weights = filters(RATE, 256, BANDS, 60.0, 4000.0)
  assert found.argmax() == weights[:, 32].argmax()  # 32 x 31.25 Hz
  # The window's sum divides, so a tone of amplitude 1 has a power of 1/4, with leaks into its neighbours.
  assert 0.2 < np.exp(found.max()) < 0.45


@pytest.mark.parametrize("normalise", [False, True])
def test_padding_counts_for_nothing(normalise):
  module = stage.clone(normalise=normalise)
  noise = WAVES.copy()
  noise[1, 420:], noise[2] = 9999, 7
  whole = module.apply({}, {"wave": noise, "length": LENGTHS})
  alone = module.apply({}, WAVES[1:2, :420])
  assert whole["mask"].sum(axis=1).tolist() == [10, 5, 0] and (whole["x"][1, 5:] == 0).all()
  np.testing.assert_allclose(whole["x"][1, :5], alone["x"][0], rtol=1e-4, atol=1e-4)
  assert np.isfinite(whole["x"]).all() and (whole["x"][2] == 0).all()


def test_loudness_does_not_matter_and_silence_is_zero():
  module = stage.clone(normalise=True)
  wave = WAVES.astype(np.float32) / 32768
  loud, soft = (module.apply({}, wave * gain)["x"] for gain in (1.0, 0.3))
  np.testing.assert_allclose(loud, soft, atol=0.02)
  np.testing.assert_allclose(loud.mean(axis=(1, 2)), 0, atol=1e-5)
  np.testing.assert_allclose(loud.std(axis=(1, 2)), 1, atol=0.01)
  np.testing.assert_allclose(module.apply({}, np.zeros((1, 500), np.int16))["x"], 0, atol=1e-3)


def test_mistakes():
  for x, message in (
    (WAVES[0], r"the input is int16\[1000\], expected waves"),
    (WAVES.astype(np.int32), r"the input is int32\[3, 1000\], expected waves"),
    ({"x": WAVES}, "the input is 'x', expected waves"),
    ({"wave": WAVES, "length": LENGTHS[:2]}, r"the lengths have shape \(2,\)"),
  ):
    with pytest.raises(mtl.UserError, match=message):
      stage.apply({}, x)
  with pytest.raises(mtl.UserError, match="LogMel: 200 bands are too many for a window of 0.032 s"):
    stage.clone(bands=200).apply({}, WAVES)
  with pytest.raises(mtl.UserError, match="bands from 60 to 5000 Hz, expected within 0 and half of the rate, 4000"):
    stage.clone(high=5000.0).apply({}, WAVES)


def test_runs_are_dropped_when_training():
  net = mtl.from_linen(mtl.nn.SpecAugment(bands=3, frames=4))
  x = {"x": jnp.ones((400, 12, 8)), "mask": jnp.ones((400, 12), bool)}
  y, _ = net.apply({}, {}, x, key=jax.random.key(0), train=True)
  bands, frames = (np.asarray(y["x"] == 0).all(axis=axis) for axis in (1, 2))
  counts = [np.bincount(dropped.sum(axis=1)) for dropped in (bands, frames)]
  assert len(counts[0]) == 4 and len(counts[1]) == 5 and min(map(min, counts)) > 40  # 0 to 3, and 0 to 4, all alike
  assert all((np.diff(own.astype(int), prepend=0, append=0) == 1).sum() <= 1 for own in (*bands, *frames))  # one run
  assert bands.mean(axis=0).min() > 0.05 and frames.mean(axis=0).min() > 0.05  # anywhere
  np.testing.assert_array_equal(np.asarray(y["x"]) == 0, bands[:, None] | frames[:, :, None])
  assert net.apply({}, {}, x)[0]["x"].min() == 1


def test_stacked_frames():
  x = jnp.arange(2 * 5 * 2, dtype=jnp.float32).reshape(2, 5, 2) + 1
  found = mtl.nn.StackFrames(2).apply({}, {"x": x, "mask": jnp.arange(5)[None] < jnp.array([[5], [3]])})
  assert found["x"][0].tolist() == [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 0, 0]]
  assert found["x"][1].tolist() == [[11, 12, 13, 14], [15, 16, 0, 0], [0, 0, 0, 0]]
  assert found["mask"].tolist() == [[True] * 3, [True, True, False]]
