"""Trainables of the user's own: anything that is not an image classifier."""
