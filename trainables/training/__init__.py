"""The lockstep training loop."""
