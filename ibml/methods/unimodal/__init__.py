"""One modality alone, the reference of its utilisation."""
