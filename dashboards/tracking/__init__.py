"""A study as MLflow holds it: read in full, or brought up to date from a local copy."""
