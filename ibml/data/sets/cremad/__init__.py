"""CREMA-D."""
