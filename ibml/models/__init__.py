"""Models: encoders, fusions, and the multimodal model that they form."""
