"""The JAX backend: JAX arrays in every algorithm; functions of parameters, flax and equinox modules as models."""

from dntk.backend import Backend, BackendEntry


def _load() -> Backend:
    from dntk_jax._precision import use_whole_float32
    from dntk_jax.backend import JaxBackend

    use_whole_float32()
    return JaxBackend()


entry = BackendEntry(
    name="jax",
    modules=("jax", "jaxlib", "flax", "equinox"),
    requires=("jax",),
    install='pip install "dntk[jax]"',
    load=_load,
)
