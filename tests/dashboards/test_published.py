"""The published results, against the paper's table and facts about its models."""

from dashboards.statistics.published import PUBLISHED_SCHEMA, published_peak


def test_table_2_of_the_paper() -> None:
    table = published_peak()
    assert table.schema == PUBLISHED_SCHEMA
    rows = {(row["model"], row["epochs"], row["pretrained"]): row for row in table.to_pylist()}
    assert len(rows) == table.num_rows
    # 19 models at three lengths; 13 of them were trained on ImageNet-21k before.
    assert sum(not row["pretrained"] for row in rows.values()) == 19 * 3
    assert sum(row["pretrained"] for row in rows.values()) == 13
    assert rows["vit_c_18gf", 400, False] == {
        "model": "vit_c_18gf",
        "epochs": 400,
        "error": 17.0,
        "flops": 17_700_000_000,
        "parameters": 81_600_000,
        "activations": 24_100_000,
        "minutes_per_epoch": 11.4,
        "pretrained": False,
    }
    assert rows["vit_p_36gf", None, True]["error"] == 15.1
    assert ("regnety_1gf", None, True) not in rows


def test_longer_training_never_is_worse() -> None:
    errors: dict[str, list[float]] = {}
    for row in published_peak().to_pylist():
        if not row["pretrained"]:
            errors.setdefault(row["model"], []).append(row["error"])
    assert all(values == sorted(values, reverse=True) for values in errors.values())


def test_the_gain_of_a_convolutional_stem() -> None:
    # Section 6 of the paper: 3.0, 1.0, 0.9 and 1.4 points at 400 epochs.
    at_400 = {row["model"]: row["error"] for row in published_peak().to_pylist() if row["epochs"] == 400}
    gains = [round(at_400[f"vit_p_{size}"] - at_400[f"vit_c_{size}"], 1) for size in ("1gf", "4gf", "18gf", "36gf")]
    assert gains == [3.0, 1.0, 0.9, 1.4]
