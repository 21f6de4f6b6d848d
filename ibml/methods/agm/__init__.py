"""AGM: adaptive gradient modulation."""
