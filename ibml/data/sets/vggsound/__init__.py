"""VGGSound."""
