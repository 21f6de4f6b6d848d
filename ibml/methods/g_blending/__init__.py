"""Gradient blending."""
