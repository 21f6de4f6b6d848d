"""Benchmarks of orchestration, stores, searches, data loading and training steps."""
