"""All results of a run, computed where they are not stored."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

from dntk_studies.networks import TrainingPlan
from dntk_studies.reproduce import (
    _figure_1,
    _figure_2,
    _figure_3,
    _figure_4,
    composed,
    data_comparison,
    exact_costs,
    full_set,
    ledger_table,
    sketch_sweep,
)
from dntk_studies.reproduce.scene import scores
from dntk_studies.reproduce.settings import FIGURES
from dntk_studies.reproduce.workshop import Workshop, tag

Rows = list[dict[str, Any]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Results:
    """Rows of every table, each with its network (``architecture``) and ``seed``; tables not asked for are absent."""

    tables: dict[str, Rows]
    exact: dict[str, Any] | None = None

    def of_main(self, table: str, architecture: str) -> Rows:
        """Rows of one network."""
        return [row for row in self.tables.get(table, []) if row["architecture"] == architecture]


def collect(shop: Workshop, figures: tuple[str, ...], done: Callable[[], None]) -> Results:
    """Results of the ``figures``; everything beyond them belongs to all four together.

    ``done`` is called once per unit of :func:`count`.
    """
    tables: dict[str, Rows] = {}
    exact: dict[str, Any] | None = None

    def add(table: str, plan: TrainingPlan, seed: int, make: Callable[[], Any]) -> Any:
        made = shop.units.value(f"{table.replace(' ', '-')}-{tag(plan, seed)}", make)
        known = {"architecture": plan.architecture, "seed": seed}
        rows = made if isinstance(made, list) else [made]
        tables.setdefault(table, []).extend({**known, **row} for row in rows)
        done()
        return made

    for plan, seed in shop.settings.runs():
        add("networks", plan, seed, partial(network, shop, plan, seed))
        for name in figures:
            add(f"figure {name}", plan, seed, partial(_FIGURES[name], shop, plan, seed))
        if not beyond_figures(figures) or plan != shop.settings.main:
            continue
        for method in data_comparison.methods(shop.settings, seed):
            add("data " + method, plan, seed, partial(data_comparison.row, shop, plan, seed, method))
        if seed < shop.settings.full_seeds:
            full = add("full set", plan, seed, partial(full_set.measured, shop, plan, seed))
            sweep = add("sketch", plan, seed, partial(sketch_sweep.rows, shop, plan, seed))
            add("stages", plan, seed, partial(composed.rows, shop, plan, seed, full, sweep))
            add("ledger", plan, seed, partial(ledger_table.distilled_rows, shop, plan, seed))
        if seed == 0:
            exact = shop.units.value(f"exact-{tag(plan, seed)}", partial(exact_costs.measured, shop, plan, seed))
            done()
    return Results(tables=_joined(tables), exact=exact)


def count(shop: Workshop, figures: tuple[str, ...]) -> int:
    """Number of units that :func:`collect` goes through."""
    s = shop.settings
    total = len(s.runs()) * (1 + len(figures))
    if beyond_figures(figures):
        total += sum(len(data_comparison.methods(s, seed)) for seed in range(s.seeds))
        total += 4 * min(s.full_seeds, s.seeds) + 1
    return total


def beyond_figures(figures: tuple[str, ...]) -> bool:
    """Whether the tables beyond the figures are wanted: with all figures."""
    return figures == FIGURES


def network(shop: Workshop, plan: TrainingPlan, seed: int) -> dict[str, Any]:
    """What was trained, and to which accuracy on the whole test part."""
    images, trained = shop.images(seed), shop.network(plan, seed)
    correct = 0.0
    for start in range(0, len(images.tested.y), 500):
        x, y = shop.place(images.tested.x[start : start + 500]), images.tested.y[start : start + 500]
        outputs = trained.model(x)
        correct += scores(outputs, outputs, y)["accuracy"] * len(y)
    return {
        "width": plan.width,
        "parameters": trained.model.n_parameters,
        "training_points": len(images.train.y),
        "epochs": plan.epochs,
        "test_points": len(images.tested.y),
        "test_accuracy": correct / len(images.tested.y),
        "precision": trained.precision,
        "training_seconds": trained.seconds,
    }


def _joined(tables: dict[str, Rows]) -> dict[str, Rows]:
    """The tables of single data distillations as one."""
    prefix = "data "
    joined = {name: rows for name, rows in tables.items() if not name.startswith(prefix)}
    every = [row for name, rows in tables.items() if name.startswith(prefix) for row in rows]
    return {**joined, "data": every} if every else joined


_FIGURES = {"1": _figure_1.rows, "2": _figure_2.rows, "3": _figure_3.rows, "4": _figure_4.rows}
