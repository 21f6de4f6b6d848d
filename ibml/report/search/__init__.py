"""The report of a hyperparameter search: its page, figures, trials and best configuration."""
