"""Data sets, one package each: configuration, layout or source, and preparation."""
