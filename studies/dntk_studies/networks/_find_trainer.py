"""Whatever installed framework trains networks."""

import importlib.util

from dntk.backend import Backend, get_backend
from dntk_studies.networks.plan import Trainer


def find_trainer() -> tuple[Backend, Trainer]:
    """The backend of the framework that trains, and its trainer.

    Raises
    ------
    ImportError
        None is installed: the message says what to install.
    """
    if importlib.util.find_spec("torch") is None:
        msg = 'training networks needs PyTorch, which is not installed: pip install "dntk[torch]"'
        raise ImportError(msg)
    from dntk_studies.networks.trainer import TorchTrainer

    return get_backend("torch"), TorchTrainer()
