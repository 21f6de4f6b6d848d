"""Auxiliary losses: the "uniform" baseline of Wei & Hu, "MMPareto", ICML 2024."""
