"""Metrics and measures: types, registry and names."""
