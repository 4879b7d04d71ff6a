"""Descriptions of GPUs for XLA, which compiles for them without one."""

from __future__ import annotations

from mtl_jax.plan._chips import Chip

# Multiprocessors, float32 lanes in each, clock in GHz, L2 in MiB, shared memory of a multiprocessor in KiB, and the
# compute capability: NVIDIA's architecture papers of A100 and H100 and the CUDA programming guide.
_CORES = {
  "a100": (108, 64, 1.41, 40, 164, (8, 0)),
  "h100": (132, 128, 1.98, 50, 228, (9, 0)),
  "h200": (132, 128, 1.98, 50, 228, (9, 0)),
}


def target_config(chip: Chip) -> str:
  """XLA's `GpuTargetConfigProto` of a GPU as text.

  >>> from mtl_jax.plan import chip
  >>> "core_count: 132" in target_config(chip("h100"))
  True
  """
  cores, lanes, clock, cache, shared, (major, minor) = _CORES[chip.name]
  return f"""
gpu_device_info {{
  cuda_compute_capability {{ major: {major} minor: {minor} }}
  core_count: {cores}
  fpus_per_core: {lanes}
  clock_rate_ghz: {clock}
  memory_bandwidth: {int(chip.bandwidth)}
  device_memory_size: {int(chip.memory)}
  l2_cache_size: {cache * 2**20}
  shared_memory_per_core: {shared * 2**10}
  shared_memory_per_block: {48 * 2**10}
  shared_memory_per_block_optin: {(shared - 1) * 2**10}
  threads_per_warp: 32
  threads_per_block_limit: 1024
  threads_per_core_limit: 2048
  registers_per_core_limit: 65536
  registers_per_block_limit: 65536
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
}}
platform_name: "CUDA"
dnn_version_info {{ major: 9 minor: 8 }}
device_description_str: "{chip.name}"
"""
