"""A study's data and its arms."""

from collections.abc import Iterator

from stablesweep.errors import StudyError
from stablesweep.findings import Finding, from_error
from stablesweep.preflight import check_arms, load_data
from stablesweep.study import Study


def study_data(study: Study, source: str) -> Iterator[Finding]:
    """Load the data and build every arm once; nothing is trained.

    Args:
        study: The study.
        source: What messages call it: its file, or its name.
    """
    try:
        data = load_data(study, source)
    except StudyError as error:
        yield from_error("dataset", error, "look at the study's key dataset")
        return
    if data is None:
        yield Finding(name="dataset", ok=None, found="not looked at: the study's own trainable reads its own data")
        return
    sizes = f"{data.image_size} pixels, {data.channels} channels, {data.num_classes} classes"
    images = f"{data.num_train:,} training and {data.num_eval:,} evaluation images"
    yield Finding(name="dataset", ok=True, found=f"{data.name}: {images}, {sizes}")
    try:
        check_arms(study, data, source)
    except StudyError as error:
        yield from_error("arms", error, "look at the study's keys arms, models, space and recipe")
    else:
        yield Finding(name="arms", ok=True, found=", ".join(arm.name for arm in study.arms))
