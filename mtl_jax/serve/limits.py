"""What a service allows."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
  """What a service allows, so that neither its memory nor its answers' delay grows with what is asked of it.

  Attributes:
    max_batch_size: Examples that are computed at once; requests of more are cut into pieces.
    max_wait_ms: How many milliseconds an example waits for others to be computed with.
    queue: Examples that may wait, and requests that may be on their way; what comes beyond is refused with 503.
    max_bytes: The largest body of a request, and the largest file of arrays when unpacked.
    timeout: Seconds after which a request that has not been answered is given up with 504.
  """

  max_batch_size: int = 32
  """Examples that are computed at once; requests of more are cut into pieces."""
  max_wait_ms: float = 2.0
  """How many milliseconds an example waits for others to be computed with."""
  queue: int = 256
  """Examples that may wait; what comes beyond is refused with status 503."""
  max_bytes: int = 10_000_000
  """The largest body of a request, and the largest file of arrays when unpacked."""
  timeout: float = 30.0
  """Seconds after which a request that has not been answered is given up with status 504."""
