"""AVE (audio-visual events)."""
