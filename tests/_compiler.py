"""What the tests must know of the compiler's version."""

import importlib.metadata

JAXLIB = tuple(map(int, importlib.metadata.version("jaxlib").split(".")[:2]))
