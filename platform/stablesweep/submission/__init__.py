"""Studies as jobs of a Ray cluster: what is uploaded, what is checked there first, and how a job is found again."""
