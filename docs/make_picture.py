"""Draw docs/quickstart-edf.png from a finished quickstart: ``python docs/make_picture.py [HOME]``. Needs chromium."""

import subprocess
import sys
import tempfile
from pathlib import Path

import stablesweep as ss
from dashboards import edf_figure

WIDTH, HEIGHT = 900, 480
TARGET = Path(__file__).with_name("quickstart-edf.png")


def main() -> None:
    """Write the picture that the README shows."""
    results = ss.load("quickstart", sys.argv[1] if len(sys.argv) > 1 else None)
    arms = sorted(set(results.trials["arm"].to_pylist()))
    figure = edf_figure([results.edf(arm) for arm in arms])
    legend = {
        "yref": "paper",
        "x": 0.99,
        "y": 0.03,
        "xanchor": "right",
        "yanchor": "bottom",
        "bgcolor": "rgba(255, 255, 255, 0.85)",
    }
    margin = {"l": 80, "r": 20, "t": 20, "b": 60}
    figure.update_layout(width=WIDTH, height=HEIGHT, paper_bgcolor="white", legend=legend, margin=margin)
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "figure.html"
        page.write_text(figure.to_html(include_plotlyjs=True, config={"displayModeBar": False}), encoding="utf-8")
        command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        command += [f"--window-size={WIDTH + 16},{HEIGHT + 16}", "--virtual-time-budget=5000"]
        subprocess.run([*command, f"--screenshot={TARGET}", page.as_uri()], check=True, capture_output=True)


if __name__ == "__main__":
    main()
