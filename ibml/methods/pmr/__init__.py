"""PMR: prototypical modal rebalance."""
