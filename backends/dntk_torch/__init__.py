"""The PyTorch backend: tensors in every algorithm, and ``torch.nn.Module`` as models."""

from dntk.backend import Backend, BackendEntry


def _load() -> Backend:
    from dntk_torch.backend import TorchBackend

    return TorchBackend()


entry = BackendEntry(
    name="torch",
    modules=("torch",),
    requires=("torch",),
    install='pip install "dntk[torch]" (for the CPU alone: --extra-index-url https://download.pytorch.org/whl/cpu)',
    load=_load,
)
