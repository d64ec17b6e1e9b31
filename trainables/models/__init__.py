"""Models by name: the paper's, timm's and the user's."""
