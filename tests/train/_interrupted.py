"""`python -m tests.train._interrupted DIRECTORY TRIES`: interrupts itself at random moments while it saves."""

import itertools
import os
import random
import signal
import sys
import threading
from pathlib import Path

import jax.numpy as jnp

from mtl_jax.train.checkpoint import Checkpoints


def main(directory, tries):
  tree = {str(i): jnp.arange(1000.0) + i for i in range(10)}
  rng = random.Random(0)
  for number in range(tries):
    place = directory / str(number)
    try:
      with Checkpoints(place) as checkpoints:
        checkpoints.save(1, tree, {})
        threading.Timer(rng.random() * 0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
        for step in itertools.count(2):
          checkpoints.save(step, tree, {"step": step})
    except KeyboardInterrupt:
      with Checkpoints(place) as checkpoints:
        step, _, _ = checkpoints.restore_newest(tree, sys.exit)  # not damaged
      print("good", step, flush=True)


if __name__ == "__main__":
  main(Path(sys.argv[1]), int(sys.argv[2]))
