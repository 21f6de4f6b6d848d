"""Public import path of `stream_seed` for plug-ins; ibml itself uses `ibml.common.rng`."""

from ibml.common.rng import stream_seed

__all__ = ["stream_seed"]
