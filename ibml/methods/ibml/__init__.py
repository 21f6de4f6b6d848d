"""IBML: BIO and TCM."""
