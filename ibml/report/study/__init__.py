"""The report of an ablation study: its page, conclusions, figures and appendix."""
