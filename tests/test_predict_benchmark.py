"""The benchmark of predictions compares ways that give the same answer."""

from pathlib import Path

import pytest

pytestmark = pytest.mark.deep
pytest.importorskip("torch")


def test_every_way_to_a_prediction_is_timed_beside_the_floor_and_gives_one_answer(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    import predict

    row = predict.contest("cnn-8", 3, 8, 1)
    assert min(row[way] for way in ("product", "features", "JVPs", "one sweep", "floor_ms")) > 0
    # Sums of at most P terms of like size in float32, in another order.
    assert row["error"] <= 24_000**0.5 * 2**-23
