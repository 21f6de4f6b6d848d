"""LFM: learning to fuse, alignment first."""
