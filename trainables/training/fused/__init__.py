"""Fused packs: all members of a pack in one forward and backward pass, stacked along a model axis."""
