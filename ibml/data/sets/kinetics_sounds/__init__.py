"""Kinetics-Sounds."""
