"""Datasets by name: one interface, several sources."""
