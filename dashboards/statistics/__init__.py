"""Distributions of errors, comparisons, gaps, leaderboards: functions on arrays and on the trials table."""
