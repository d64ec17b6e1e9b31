"""What the benchmark of the web app waits for."""

import pytest
from dashboard import ARMS, Study, without_one_arm

from dashboards.app.parts import counts_caption
from dashboards.app.study import StudyData
from dashboards.selection import STABILITY


@pytest.mark.parametrize("trials", [10, 400, 403])
def test_the_page_says_how_many_trials_are_left_without_an_arm(trials: int) -> None:
    data = StudyData(Study(trials).record, generation=1)
    assert f", {without_one_arm(trials)}: " in counts_caption(data, STABILITY, ARMS[:-1])
    assert without_one_arm(trials) not in counts_caption(data, STABILITY, ARMS)
