"""Storage of results in MLflow: sessions of drivers, journals, leases, and access to stores."""
