"""The CuPy backend: arrays on NVIDIA GPUs in every algorithm, and networks of other libraries by way of DLPack."""

from dntk.backend import Backend, BackendEntry


def _load() -> Backend:
    from dntk_cupy._requirements import require_gpu

    require_gpu()
    from dntk_cupy.backend import CupyBackend

    return CupyBackend()


entry = BackendEntry(
    name="cupy",
    modules=("cupy",),
    requires=("cupy",),
    install='pip install "dntk[cupy]" (CUDA 12; for other versions the cupy wheel of yours, at least 14)',
    load=_load,
)
