"""``stablesweep doctor``: whether a study can run here, and what to do if not. Trains nothing and leaves nothing behind."""
