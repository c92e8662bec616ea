"""dntk: distilled neural tangent kernels of real networks, with a measured statement of what was lost."""

from dntk import checking as _checking

_checking.install()  # before any other module of the package is imported

from dntk import distill as distill  # noqa: E402
from dntk import metrics as metrics  # noqa: E402
from dntk import outputs as outputs  # noqa: E402
from dntk import sketch as sketch  # noqa: E402
from dntk import solve as solve  # noqa: E402
from dntk import spectrum as spectrum  # noqa: E402
from dntk import targets as targets  # noqa: E402
from dntk.archive import StoreError as StoreError  # noqa: E402
from dntk.backend import backends as backends  # noqa: E402
from dntk.bridge import bridge as bridge  # noqa: E402
from dntk.certify.bound import Bound as Bound  # noqa: E402
from dntk.certify.certificate import Certificate as Certificate  # noqa: E402
from dntk.certify.compose import certify as certify  # noqa: E402
from dntk.checking import checking as checking  # noqa: E402
from dntk.distilled_gradients import DistilledGradients as DistilledGradients  # noqa: E402
from dntk.features import TangentFeatures as TangentFeatures  # noqa: E402
from dntk.features import tangent_features as tangent_features  # noqa: E402
from dntk.ledger import Ledger as Ledger  # noqa: E402
from dntk.mlp import MLP as MLP  # noqa: E402
from dntk.model import Model as Model  # noqa: E402
from dntk.model import as_model as as_model  # noqa: E402
from dntk.ntk import ntk as ntk  # noqa: E402
from dntk.ntk_operator import NTKOperator as NTKOperator  # noqa: E402
from dntk.pipeline import DistilledNTK as DistilledNTK  # noqa: E402
from dntk.pipeline import NotFittedError as NotFittedError  # noqa: E402
from dntk.store import load as load  # noqa: E402

__version__ = "0.1.0"
