"""The curves of a pack's trials as one Parquet file, an artifact of their arm's run."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from dashboards import tags
from dashboards.tables import CURVES_SCHEMA
from stablesweep.record import Record
from stablesweep.study_runs import StudyRuns
from stablesweep.trials import Trial


def publish_curves(runs: StudyRuns, trials: Mapping[str, Trial], record: Record) -> None:
    """Log the curves of every pack whose trials have all ended and whose file is not there yet.

    Args:
        runs: The study's runs.
        trials: The ledger's rows, by key.
        record: Has the epochs, and notes what was published.
    """
    for pack, keys in record.packs_without_curves().items():
        if keys[0] in trials:
            first = trials[keys[0]]
            _log_curves(runs, runs.arm_runs[first.phase, first.arm], record, pack, keys)
            record.set_curves_published(pack, len(keys))


def _log_curves(runs: StudyRuns, arm_run: str, record: Record, pack: str, keys: Sequence[str]) -> None:
    rows = record.epochs(keys)
    # from_pandas: a loss that was not reported is null in a table, not NaN.
    columns = {
        field.name: pa.array([getattr(row, field.name) for row in rows], field.type, from_pandas=True)
        for field in CURVES_SCHEMA
    }
    # The number first: it also tells of the file if that is the last that this process does.
    runs.number_arm(arm_run)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{pack}.parquet"
        pq.write_table(pa.table(columns, schema=CURVES_SCHEMA), file)
        runs.log_file(arm_run, file, tags.CURVES_FOLDER)
