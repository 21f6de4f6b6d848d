"""Modality valuation: samples are repeated with the modality that contributes too little."""
