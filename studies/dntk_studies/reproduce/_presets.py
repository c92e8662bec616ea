"""The settings of every data set, quick and full."""

import dataclasses
from typing import Any

from dntk_studies.networks import TrainingPlan
from dntk_studies.reproduce.settings import DATA, Settings

_MLP = TrainingPlan(architecture="mlp", width=256, epochs=10, rate=1e-3, decay=1e-2)
_CNN = TrainingPlan(architecture="cnn", width=32, epochs=8, rate=3e-3, decay=1e-2, flip=True)
_VIT = TrainingPlan(architecture="vit", width=64, epochs=6, rate=1e-3, decay=5e-2, flip=True)
_RESNET = TrainingPlan(architecture="resnet18", width=16, epochs=6, rate=0.2, flip=True, shift=4)

_QUICK = Settings(
    data="digits",
    quick=True,
    pixels=8,
    train=1000,
    validation=150,
    test=300,
    pool=1000,
    per_class=20,
    main=TrainingPlan(architecture="cnn", width=16, epochs=15, batch=64, rate=1e-2, decay=1e-2),
    others=(
        TrainingPlan(architecture="mlp", width=128, epochs=25, batch=64, rate=3e-3, decay=1e-2),
        TrainingPlan(architecture="resnet18", width=8, epochs=6, batch=64),
        TrainingPlan(architecture="vit", width=32, epochs=15, batch=64, rate=5e-3, decay=1e-2),
    ),
    distilled_epochs=30,
    seeds=3,
    other_seeds=1,
    full_seeds=1,
    sketch_dim=1024,
    nonzeros=2,
    sizes=(1, 2, 5, 10, 40),
    prefixes=(1, 2, 5, 10, 20),
    exact_points=100,
    exact_sizes=(50, 100, 200),
    solve_sizes=(250, 500, 1000),
    sweep=(64, 256, 1024),
    pixel_steps=0,
)

_FULL = Settings(
    data="cifar10",
    quick=False,
    pixels=64,
    train=None,
    validation=300,
    test=500,
    pool=10_000,
    per_class=50,
    main=_RESNET,
    others=(_MLP, _CNN, _VIT),
    distilled_epochs=60,
    seeds=5,
    other_seeds=1,
    full_seeds=1,
    sketch_dim=2048,
    nonzeros=2,
    sizes=(1, 2, 3, 5, 8, 10, 15, 20, 30, 40),
    prefixes=(1, 2, 5, 10, 20, 50),
    exact_points=100,
    exact_sizes=(64, 128, 256, 512),
    solve_sizes=(500, 1000, 2000, 4000),
    sweep=(64, 128, 256, 512, 1024, 2048),
    pixel_steps=50,
)

_FULL_DIGITS: dict[str, Any] = {
    **{"quick": False, "seeds": 5, "other_seeds": 5, "full_seeds": 5, "per_class": 50, "sketch_dim": 2048},
    **{"prefixes": _FULL.prefixes, "sizes": _FULL.sizes, "sweep": _FULL.sweep, "pixel_steps": 50},
}
_SMALL: dict[str, Any] = {  # minutes, not seconds, as the data are larger than the digits
    **{"others": (), "seeds": 1, "full_seeds": 1, "per_class": 20, "sketch_dim": 1024, "distilled_epochs": 20},
    **{"prefixes": _QUICK.prefixes, "sizes": _QUICK.sizes, "pixel_steps": 0, "test": 300},
}


def preset(data: str, *, quick: bool) -> Settings:
    """Settings of a data set.

    Raises
    ------
    ValueError
        There is no such data set.
    """
    if data not in DATA:
        msg = f"--data {data}: expected one of {', '.join(DATA)}."
        raise ValueError(msg)
    if data == "digits":
        return _QUICK if quick else dataclasses.replace(_QUICK, **_FULL_DIGITS)
    settings = dataclasses.replace(_FULL, data=data, quick=quick)
    if data == "fashion-mnist":
        main = dataclasses.replace(_RESNET, epochs=4, shift=2)
        settings = dataclasses.replace(settings, main=main)
    if not quick:
        return settings
    main = dataclasses.replace(settings.main, width=8)
    train, pool = (None, 10**9) if data in ("imagenette", "imagewoof") else (8000, 2000)
    return dataclasses.replace(settings, main=main, train=train, pool=pool, **_SMALL)
