"""The documented path by which plug-ins import `stream_seed`; ibml itself uses `ibml.common.rng`."""

from ibml.common.rng import stream_seed

__all__ = ["stream_seed"]
