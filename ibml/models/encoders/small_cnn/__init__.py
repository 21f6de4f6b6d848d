"""A few convolutions, for small images."""
