"""dntk: distilled neural tangent kernels of real networks, with a measured statement of what was lost."""

from dntk import checking as _checking

_checking.install()  # before any other module of the package is imported

from dntk.backend import backends as backends  # noqa: E402
from dntk.checking import checking as checking  # noqa: E402
from dntk.mlp import MLP as MLP  # noqa: E402
from dntk.model import Model as Model  # noqa: E402
from dntk.model import as_model as as_model  # noqa: E402

__version__ = "0.1.0"
