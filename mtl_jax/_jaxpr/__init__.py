"""Traced programs: their equations, how values flow through them, and convolutions inside loops."""
