"""AVSBench."""
