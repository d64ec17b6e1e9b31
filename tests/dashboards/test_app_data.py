"""What the pages are made of: brushed trials, lists, pace, the store, the checks of requests."""

import threading
import time
import warnings
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from dashboards.app import layout
from dashboards.app.address import Address, Brush
from dashboards.app.listing import list_trials
from dashboards.app.mlflow_page import run_page
from dashboards.app.pace import pace, trial_ends
from dashboards.app.plots import MOST_STEPS, visible_steps
from dashboards.app.security import is_allowed_host
from dashboards.app.store import Store
from dashboards.app.study import StudyData
from dashboards.app.views import studies as studies_view
from dashboards.tables import TrialRecord
from dashboards.tracking.study import StudyRecord, TrackingUnreachable
from tests.waiting import wait_until

MakeRecord = Callable[..., StudyRecord]


@pytest.mark.parametrize("phase_arms", [(), ("vit_p_micro/adamw", "vit_p_micro/sgd")])
def test_the_brush_holds_what_lies_in_its_box(make_record: MakeRecord, phase_arms: tuple[str, ...]) -> None:
    record = make_record(draws=40)
    study = StudyData(record)
    address = Address(study="s", arms=phase_arms, brush=Brush(panel="lr", x=(5e-4, 0.9), y=(11.0, 45.0)))
    assert address.brush is not None
    found = set(study.sample("stability").keys[study.sample("stability").brushed(address.brush, study.shown(address))])
    rows = record.trials.to_pylist()
    assert found == {
        row["key"]
        for row in rows
        if row["status"] == "completed"
        and 5e-4 <= row["lr"] <= 0.9
        and 11.0 <= row["error"] <= 45.0
        and (not phase_arms or row["arm"] in phase_arms)
    }
    assert len(found) > 5


def test_diverged_trials_are_brushed_where_they_are_drawn(make_record: MakeRecord) -> None:
    record = make_record(draws=40)
    sample = StudyData(record).sample("stability")
    top = sample.points.ceiling
    everything = (-1.0, 1e9)
    arms = tuple(set(sample.arms))
    inside = sample.brushed(Brush(panel="weight decay", x=everything, y=(top - 0.1, top + 0.1)), arms)
    diverged = record.trials.filter(pc.equal(record.trials["status"], "diverged"))["key"].to_pylist()
    assert sorted(sample.keys[inside]) == sorted(diverged)
    assert not sample.brushed(Brush(panel="no such panel", x=everything, y=everything), arms).any()


def test_a_trial_without_the_hyperparameter_is_in_no_box(make_rows: Any, make_phases: MakeRecord) -> None:
    rows = [
        *make_rows("stability", "m/a", [10.0, 20.0], sampler="random"),
        *make_rows("stability", "m/b", [10.0], sampler="random", setting={"lr": 0.5}),
    ]
    sample = StudyData(make_phases(rows)).sample("stability")
    everything = (-1e9, 1e9)
    inside = sample.brushed(Brush(panel="weight decay", x=everything, y=everything), ("m/a", "m/b"))
    assert set(sample.arms[inside]) == {"m/a"}


def test_lists_are_filtered_ordered_and_cut(make_record: MakeRecord) -> None:
    trials = make_record(draws=40).trials
    rows = trials.to_pylist()

    def keys(**values: Any) -> list[str]:
        found: list[str] = []
        address = Address(study="s", **values)
        for number in range(1, 99):
            page = list_trials(trials, address.but(page=number), size=7, order="key")
            if number > page.num_pages:
                break
            assert page.number == number
            found += page.rows["key"].to_pylist()
        return found

    assert keys() == sorted(row["key"] for row in rows)
    by_error = [row["key"] for row in sorted(rows, key=lambda row: (row["error"] is None, row["error"], row["key"]))]
    assert keys(sort="error") == by_error
    known = [row for row in rows if row["error"] is not None]
    highest = [row["key"] for row in sorted(known, key=lambda row: -row["error"])]
    assert keys(sort="-error")[: len(highest)] == highest
    assert set(keys(sort="-error")) == set(keys())
    assert keys(sort="no such column") == keys()
    assert keys(status="failed", sort="-key") == sorted(
        (r["key"] for r in rows if r["status"] == "failed"), reverse=True
    )
    assert keys(find="BAD</b> IM") == [row["key"] for row in rows if row["reason"] and "<b>bad" in row["reason"]]
    assert keys(find="micro/sgd/000003") == ["stability/vit_c_micro/sgd/000003/0", "stability/vit_p_micro/sgd/000003/0"]
    assert keys(find=".*") == []
    beyond = list_trials(trials, Address(study="s", page=10**6), size=7, order="key")
    assert (beyond.number, beyond.total, beyond.rows.num_rows) == (23, 160, 160 - 22 * 7)


def test_a_list_of_nothing_has_one_page(make_record: MakeRecord) -> None:
    trials = make_record().trials
    page = list_trials(trials, Address(study="s"), size=7, order="error", keys=np.array([], dtype=object))
    assert (page.total, page.number, page.num_pages, page.rows.num_rows) == (0, 1, 1, 0)


def test_pace_by_hand() -> None:
    # Packs of two that end every 100 s; the first moment opens the window.
    ends = np.array([0.0, 0.0, 100.0, 100.0, 200.0, 200.0, 300.0, np.nan])
    found = pace(ends, num_open=10)
    assert found is not None
    assert (found.num_trials, found.seconds, found.per_hour) == (5, 300.0, 60.0)
    # What ended long before is another run of the study.
    late = pace(np.concatenate([ends, [1e6, 1e6 + 10, 1e6 + 20]]), num_open=1)
    assert late is not None
    assert (late.num_trials, late.per_hour) == (2, 360.0)
    assert pace(ends, num_open=0) is None
    assert pace(np.array([]), num_open=5) is None
    assert pace(np.array([1.0, 1.0, 2.0]), num_open=5) is None


def test_when_trials_ended(make_record: MakeRecord) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    keys = [f"stability/m/sgd/{draw:06d}/0" for draw in range(4)]
    records = {
        keys[0]: TrialRecord(status="completed", error=3.0, started=start, seconds=5.5),
        keys[1]: TrialRecord(status="failed", started=start + timedelta(seconds=1)),
        keys[2]: TrialRecord(status="running", started=start),
    }
    ends = trial_ends(make_record(["m/sgd"], 4, records=records).trials)
    assert list(ends[:2] - start.timestamp()) == [5.5, 1.0]
    assert np.isnan(ends[2:]).all()


@pytest.mark.parametrize(
    ("uri", "page"),
    [
        ("http://localhost:5000", "http://localhost:5000/#/experiments/7/runs/abc"),
        ("https://me:secret@host/mlflow/", "https://host/mlflow/#/experiments/7/runs/abc"),
        ("sqlite:///mlflow.db", None),
        ("postgresql://me:secret@host/db", None),
        ("javascript://host/%0aalert(1)", None),
        ("http://[::1", None),
    ],
)
def test_where_mlflow_shows_a_run(uri: str, page: str | None) -> None:
    assert run_page(uri, "7", "abc") == page


@pytest.mark.parametrize(
    ("header", "allowed"),
    [
        ("localhost:8265", True),
        ("127.0.0.1:8265", True),
        ("[::1]:8265", True),
        ("192.168.1.7:8265", True),
        ("LOCALHOST", True),
        ("box.example:8265", True),
        ("evil.example:8265", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("", False),
        ("[::1", False),
    ],
)
def test_names_that_are_answered(header: str, allowed: bool) -> None:
    assert is_allowed_host(header, ["Box.example"]) is allowed


class Shelf:
    """A source whose studies the test changes."""

    def __init__(self, **studies: StudyRecord) -> None:
        self.studies: dict[str, StudyRecord] = studies
        self.error: Exception | None = None
        self.reads = 0

    def names(self) -> list[str]:
        if self.error is not None:
            raise self.error
        return sorted(self.studies)

    def read(self, names: Sequence[str]) -> StudyRecord:
        self.reads += 1
        if self.error is not None:
            raise self.error
        if names[0] not in self.studies:
            raise ValueError(f"No study {names[0]!r}.")
        warnings.warn("A trial has several MLflow runs.", stacklevel=1)
        return self.studies[names[0]]


def test_the_store_reads_again_and_counts_only_changes(make_record: MakeRecord) -> None:
    shelf = Shelf(a=make_record(draws=4), b=make_record(draws=3))
    store = Store(shelf, refresh_s=0.02)
    try:
        assert store.study("a", wait_s=20.0).data is not None
        entry = store.study("a")
        assert entry.data is not None
        assert entry.data.notes == ("A trial has several MLflow runs.",)
        reads = shelf.reads
        wait_until(lambda: shelf.reads > reads + 3)
        assert store.study("a").generation == entry.generation
        shelf.studies["a"] = make_record(draws=5)
        wait_until(lambda: store.study("a").generation != entry.generation)
        newer = store.study("a").data
        assert newer is not None
        assert newer.record.trials.num_rows == 20
        assert set(store.known()) == {"a"}
        assert store.listing().names == ("a", "b")
    finally:
        store.stop()


def test_what_is_found_while_the_list_is_made_makes_it_anew(
    make_record: MakeRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = Shelf(a=make_record(draws=2))
    store = Store(shelf, refresh_s=0.02)
    render = studies_view.render

    def slowly(*arguments: Any) -> Any:
        content = render(*arguments)
        shelf.studies["b"] = make_record(draws=2)
        wait_until(lambda: "b" in store.listing().names)
        return content

    monkeypatch.setattr(studies_view, "render", slowly)
    try:
        wait_until(lambda: store.listing().known)
        _, frame = layout.page(store, "sqlite:///mlflow.db", Address(), narrow=False)
        assert frame["generation"] != layout.generation(store, Address())
    finally:
        store.stop()


def test_the_store_says_what_is_wrong_keeps_what_it_has_and_goes_on(make_record: MakeRecord) -> None:
    shelf = Shelf(a=make_record(draws=4))
    store = Store(shelf, refresh_s=0.02)
    try:
        first = store.study("a", wait_s=20.0)
        assert store.study("none", wait_s=20.0).error == "No study 'none'."
        shelf.error = TrackingUnreachable("MLflow at x cannot be reached.")
        wait_until(lambda: store.study("a").error)
        assert store.study("a").error == "MLflow at x cannot be reached."
        assert store.study("a").data is first.data
        wait_until(lambda: store.listing().error)
        assert store.listing().names == ("a",)
        shelf.error = RuntimeError("odd\nthing")
        wait_until(lambda: "odd" in store.study("a").error)
        assert store.study("a").error == "RuntimeError: odd thing"
        shelf.error = None
        wait_until(lambda: not store.study("a").error and not store.listing().error)
    finally:
        store.stop()


def test_asking_never_waits_for_a_slow_server(make_record: MakeRecord) -> None:
    gate = threading.Event()

    class Slow(Shelf):
        def read(self, names: Sequence[str]) -> StudyRecord:
            assert gate.wait(20.0)
            return super().read(names)

    store = Store(Slow(a=make_record(draws=2)), refresh_s=0.02)
    try:
        assert store.study("a").data is None
        assert store.study("a", wait_s=0.01).data is None
        gate.set()
        assert store.study("a", wait_s=20.0).data is not None
    finally:
        gate.set()
        store.stop()


def test_each_value_is_computed_once_whoever_asks(make_record: MakeRecord) -> None:
    study = StudyData(make_record(draws=2))
    calls: list[int] = []
    barrier = threading.Barrier(8)

    def compute() -> int:
        time.sleep(0.01)
        calls.append(1)
        return 1

    def ask() -> None:
        barrier.wait()
        study.once("x", compute)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert calls == [1]


def test_an_empty_table_has_no_phase(make_record: MakeRecord) -> None:
    record = make_record(draws=2)
    empty = StudyData(StudyRecord(**{**_fields(record), "trials": record.trials.slice(0, 0)}))
    assert empty.phases == []
    assert empty.shown(Address(study="s")) == ()
    assert isinstance(empty.record.trials, pa.Table)


def _fields(record: StudyRecord) -> dict[str, Any]:
    return {name: getattr(record, name) for name in StudyRecord.__dataclass_fields__}


@pytest.mark.parametrize("count", [2, 1_500, 1_501, 20_000])
def test_a_long_staircase_is_drawn_to_half_a_pixel(count: int) -> None:
    x = np.sort(np.random.default_rng(3).random(count)) * 50.0
    kept = visible_steps(x)
    assert len(kept) <= MOST_STEPS + 2
    assert (kept[0], kept[-1]) == (0, count - 1)
    if count <= MOST_STEPS:
        assert len(kept) == count
    # Wherever one looks, the drawn height is the true one from at most one interval further left.
    heights, at = np.arange(1, count + 1), np.linspace(x[0], x[-1], 999)
    drawn = heights[kept][np.searchsorted(x[kept], at, side="right") - 1]
    width = (x[-1] - x[0]) / MOST_STEPS
    assert (drawn <= np.searchsorted(x, at, side="right")).all()
    assert (drawn >= np.searchsorted(x, at - width * 1.001, side="right")).all()
