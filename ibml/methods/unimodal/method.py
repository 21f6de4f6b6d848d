"""Training on one modality, the reference for the utilisation of that modality.

L = CE(o_m, y) of one encoder and a linear head. The other modalities are neither part of the model
nor read from disk. Hyperparameters: modality. Cost per step: a forward and a backward pass of the
encoder.
"""

from __future__ import annotations

from ibml.methods.joint.method import Joint


class Unimodal(Joint):
    """Train a model with one modality."""
