"""Concatenation: one linear head over all features."""
