"""Modality valuation: samples are seen again with what they lack."""
