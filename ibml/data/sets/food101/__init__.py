"""UPMC Food-101."""
