"""The command line, `mtl-jax` or `python -m mtl_jax`: one command per file.

- `run`: the program, as the shell starts it.
- `main`: one command, for programs that want its exit code.
"""

from mtl_jax.cli.main import main, run

__all__ = ["main", "run"]
