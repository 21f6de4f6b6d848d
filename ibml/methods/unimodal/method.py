"""One modality alone, the reference of its utilisation.

L = CE(o_m, y) of one encoder and a linear head; the other modalities are not in the model, nor are they read.
Hyperparameters: modality. Cost of a step: a forward and a backward pass of that encoder.
"""

from __future__ import annotations

from ibml.methods.joint.method import Joint


class Unimodal(Joint):
    """Joint training of a model that has one modality."""
