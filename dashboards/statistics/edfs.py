"""The EDFs of several arms together."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from dashboards.figures.colours import ArmStyle, arm_styles
from dashboards.selection import STABILITY, arms_of, every_arm
from dashboards.statistics.edf import Edf, arm_edf

if TYPE_CHECKING:
    import pyarrow as pa
    from plotly.graph_objects import Figure


class Edfs(Mapping[str, Edf]):
    """EDFs by arm, sorted by name; ``plot()`` draws them into one figure.

    ``edfs["vit_c/sgd"].quantile(0.5)`` is one arm's median; ``edfs.values()`` are all.
    """

    def __init__(self, edfs: Sequence[Edf], styles: "Mapping[str, ArmStyle] | None" = None) -> None:
        """Args:
        edfs: One per arm, each with a label.
        styles: The arms' looks where the study has more arms than these; made from the labels if not given.

        Raises:
            ValueError: If two EDFs have one label, or one has none.
        """
        self._edfs = {edf.arm or "": edf for edf in sorted(edfs, key=lambda edf: edf.arm or "")}
        if "" in self._edfs or len(self._edfs) < len(edfs):
            raise ValueError("edfs: two EDFs have the same label, or one has none; give each its own arm.")
        self._styles = styles

    def __getitem__(self, arm: str) -> Edf:
        if arm not in self._edfs:
            raise KeyError(f"No arm {arm!r}; arms: {', '.join(self._edfs) or 'none'}.")
        return self._edfs[arm]

    def __iter__(self) -> Iterator[str]:
        return iter(self._edfs)

    def __len__(self) -> int:
        return len(self._edfs)

    def __repr__(self) -> str:
        """The arms with their numbers of draws."""
        return f"Edfs({', '.join(f'{arm}: n {edf.n}' for arm, edf in self._edfs.items())})"

    def plot(self) -> "Figure":
        """All of them as exact step functions with their simultaneous bands, as a Plotly figure."""
        from dashboards.figures import edf_figure

        return edf_figure(list(self._edfs.values()), self._styles)


def every_edf(trials: "pa.Table", phase: str = STABILITY) -> Edfs:
    """The EDFs of all arms with non-adaptive trials in ``phase``, in the looks that they have in the study's report."""
    return Edfs([arm_edf(trials, name.arm, phase) for name in arms_of(trials, phase)], arm_styles(every_arm(trials)))
