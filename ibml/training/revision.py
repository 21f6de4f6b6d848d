"""Revision of everything that turns a configuration into a result."""

TRAINER_REVISION = 2
"""Revision of the trainer, part of every trial key.

Raise it whenever a change makes the same configuration give other numbers. Older results are then
not reused.
"""
