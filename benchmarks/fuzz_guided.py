"""Files that a fuzzer grows towards code it has not seen yet: `python benchmarks/fuzz_guided.py`, needs atheris.

As in `benchmarks/fuzz.py`, but what was read decides how a file is changed next: by the branches of this library that
it took. Each kind of file is read in a process of its own, for some seconds. Writes
`benchmarks/results/fuzz_guided.md`.
"""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import tyro
from _machine import describe, write
from _markdown import table

KINDS = (
  *("CSV", "npz", "wav", "PNG", "safetensors", "PyTorch", "CoNLL-U", "config.json of a run", "data.json of a run"),
  *("calibration.json of a run", "test.json of a run", "metrics.jsonl of a run", "a finished run of a comparison"),
)


def main(seconds: int = 30, kinds: tuple[str, ...] = KINDS, one: str = "") -> None:
  """Fuzzes them.

  Args:
    seconds: For each kind.
    kinds: Of those of `benchmarks/fuzz.py`.
    one: Fuzzes this one here.
  """
  if one:
    fuzz(one, seconds)
    return
  rows = []
  for name in kinds:
    with tempfile.TemporaryDirectory() as folder:
      words = [sys.executable, __file__, "--one", name, "--seconds", str(seconds)]
      done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    tried, found = (re.findall(pattern, done.stderr) for pattern in (r"#(\d+)\s+DONE", r"cov: (\d+)"))
    rows.append([name, *(f"{int(own[-1]):,}" if own else "" for own in (tried, found))])
    rows[-1].append("none" if done.returncode == 0 else "some")
    print(rows[-1], flush=True)
    if done.returncode:
      print((done.stdout + done.stderr)[-4000:], flush=True)
  text = table(["file", "tried", "branches seen", "other errors than one clear line"], rows)
  write("fuzz_guided.md", f"# Damaged files, guided\n\n{__doc__}\n{describe()}; {seconds} s each.\n\n{text}\n")


def fuzz(name: str, seconds: int) -> None:
  """Reads files of one kind; the process ends with code 0 where there was nothing but results and clear lines."""
  atheris = importlib.import_module("atheris")
  with atheris.instrument_imports(include=["mtl_jax"], enable_loader_override=False):
    from fuzz import KINDS as OF_NAME

    import mtl_jax as mtl

  warnings.simplefilter("ignore")
  kind, folder = OF_NAME[name], Path(tempfile.mkdtemp())
  path = kind.make(folder)
  seeds = folder / "seeds"
  seeds.mkdir()
  (seeds / "good").write_bytes(path.read_bytes())

  def read(content: bytes) -> None:
    path.write_bytes(content)
    try:
      kind.read(path)
    except mtl.UserError as error:
      assert "\n" not in str(error).strip(), error

  atheris.Setup([sys.argv[0], str(seeds), f"-max_total_time={seconds}", "-max_len=8192", "-timeout=20"], read)
  atheris.Fuzz()


if __name__ == "__main__":
  tyro.cli(main)
