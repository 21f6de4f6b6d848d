"""MMCosine: cosines as logits."""
