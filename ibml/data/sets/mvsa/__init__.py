"""MVSA-Single."""
