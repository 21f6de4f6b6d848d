"""MLA: multimodal learning with alternating unimodal adaptation."""
