"""Strategies and checks with which a third party tests its own backend, sketch or distiller.

Needs Hypothesis: ``pip install "dntk[testing]"``. Nothing here needs pytest; nothing else in dntk imports this package.
"""

import importlib.util

if importlib.util.find_spec("hypothesis") is None:
    _MSG = 'dntk.testing draws its examples with Hypothesis, which is not installed: pip install "dntk[testing]".'
    raise ImportError(_MSG)

from dntk.testing._backend_properties import check_backend
from dntk.testing._distiller_properties import check_distiller
from dntk.testing._model_properties import check_model
from dntk.testing._sketch_properties import check_sketch
from dntk.testing.features import FeatureCase, build_features, tangent_features
from dntk.testing.networks import Network, models
from dntk.testing.place import Destination, Place, host, host64
from dntk.testing.properties import CheckFailure
from dntk.testing.spectrum_cases import SPECTRA, singular_values, spectra

__all__ = [
    "SPECTRA",
    "CheckFailure",
    "Destination",
    "FeatureCase",
    "Network",
    "Place",
    "build_features",
    "check_backend",
    "check_distiller",
    "check_model",
    "check_sketch",
    "host",
    "host64",
    "models",
    "singular_values",
    "spectra",
    "tangent_features",
]
