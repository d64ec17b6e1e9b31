"""Names of the tags, parameters, metrics and artifacts that a study has in MLflow.

The recorder writes them and :mod:`dashboards.tracking.study` reads them: this module is their one definition.

In MLflow a study is one experiment of the study's name. It holds one *study run*; under it one *arm run* for each
phase and arm; under that one *trial run* for each trial that has started. A trial run carries every hyperparameter as
a param (``repr`` of the value) and, per epoch, the metrics :data:`EPOCH_METRICS` at ``step`` = epoch, counted from 1.
"""

PREFIX = "stablesweep."

ROLE = PREFIX + "role"
"""``study``, ``arm`` or ``trial``."""
KEY = PREFIX + "key"
"""The trial's key (trial runs only), unique within the experiment."""
STUDY = PREFIX + "study"
PHASE = PREFIX + "phase"
ARM = PREFIX + "arm"
MODEL = PREFIX + "model"
OPTIMIZER = PREFIX + "optimizer"
DRAW = PREFIX + "draw"
SEED = PREFIX + "seed"
REPLICATE = PREFIX + "replicate"
"""Counts the seeds of one setting, from 0."""
SAMPLER = PREFIX + "sampler"
STATUS = PREFIX + "status"
"""One of :data:`STATUSES`; the truth about a trial, finer than MLflow's own run status."""
PACK = PREFIX + "pack"
TRAINED_IN = PREFIX + "trained_in"
"""How a trial's pack trained its members: ``loop`` or ``fused``."""
REASON = PREFIX + "reason"
"""Why a trial is ``diverged``, ``pruned``, ``failed`` or ``lost``: one line."""
EPOCHS = PREFIX + "epochs"
"""Epochs asked for (trial runs)."""
VERSION = PREFIX + "version"
"""On the study run: the version of this project that wrote it. ``stablesweep.version.<package>`` adds others."""

REVISION = PREFIX + "revision"
"""A number of ten digits that grows with every round of publishing: on each run that the round touched, and, last of all,
on the study run. Whoever has read everything up to the study run's number needs the runs with a higher one only."""

PARAMETERS = PREFIX + "parameters"
FLOPS = PREFIX + "flops"
ACTIVATIONS = PREFIX + "activations"
"""On an arm run, where they can be counted: trainable parameters; multiply-adds and activations of one image."""
TRAIN_IMAGES = PREFIX + "train_images"
"""On the study run: images of one epoch."""
GPUS = PREFIX + "gpus"
"""On the study run: GPUs that one pack holds, all its workers together; 0 on a CPU."""
HARDWARE = PREFIX + "hardware"
"""On the study run: what it was trained on, in words."""

SKIPPED_SAMPLES = PREFIX + "skipped_samples"
"""On the study run, where there are any: how many samples of the dataset could not be read and were left out."""

CLAIM = PREFIX + "claim"
"""On the experiment, while a process runs the study: which one (:mod:`stablesweep.claims`). Readers have no use for it."""

NOTE = "mlflow.note.content"
"""MLflow's own: the Markdown that its pages show as the description."""

STATUSES = ("pending", "running", "completed", "diverged", "pruned", "failed", "lost")
"""``pruned``: a trial of an adaptive search that was stopped early; it has no final error and is no failure."""

TRAIN_LOSS = "train_loss"
ERROR = "error"
EPOCH_METRICS = (TRAIN_LOSS, ERROR)
"""``train_loss``: mean over the epoch's images, nats. ``error``: top-1 on the validation split, percent."""

FINAL_ERROR = "final_error"
"""Percent top-1 at the last epoch; written for ``completed`` trials only."""
BEST_ERROR = "best_error"
"""The lowest ``error`` of any epoch, percent."""
EPOCHS_DONE = "epochs_done"
SECONDS = "seconds"
"""Time this trial spent training and evaluating, seconds (its own share of its pack)."""

LEDGER_ARTIFACT = "ledger.parquet"
STUDY_ARTIFACT = "study.yaml"
REPORT_ARTIFACT = "report.html"
TIMING_ARTIFACT = "timing.json"
"""On the study run. Timing: a JSON object of seconds by activity of the latest ``run``."""
SKIPPED_ARTIFACT = "skipped_samples.txt"
"""On the study run: a line for each sample that :data:`SKIPPED_SAMPLES` counts."""
FIGURES_FOLDER = "figures"
"""On the study run: the report's figures as pictures."""
CURVES_FOLDER = "curves"
"""On an arm run: one Parquet file a pack, with :data:`dashboards.tables.CURVES_SCHEMA`."""
