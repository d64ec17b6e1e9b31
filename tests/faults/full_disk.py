"""See :mod:`tests.full_disk`."""

from tests.full_disk import files_in, fill, small_disk

__all__ = ["files_in", "fill", "small_disk"]
