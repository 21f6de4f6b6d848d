"""Engine of a run: scheduling, coordination with the store, prefix sharing, and workers."""
