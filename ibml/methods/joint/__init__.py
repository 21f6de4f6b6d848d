"""Joint training, the baseline of every comparison."""
