"""How JAX multiplies float32 on accelerators."""

import warnings

import jax

FLAG = "jax_default_matmul_precision"


def use_whole_float32() -> None:
    """Have float32 multiplied as float32 where the user has not said otherwise.

    Without a word from the user JAX rounds the factors of products and convolutions to ten bits or fewer on
    accelerators (TensorFloat-32, bfloat16). Orthogonality, certificates and whatever else is stated of float32 would
    not hold then.
    """
    if jax.default_backend() == "cpu" or jax.config.jax_default_matmul_precision is not None:
        return
    jax.config.update(FLAG, "highest")
    warnings.warn(
        f'dntk set jax.config.update("{FLAG}", "highest"), as JAX would round float32 to ten bits or fewer in products '
        f"on {jax.default_backend()}, and no bound would hold. Set that option before dntk loads its JAX backend "
        "to choose yourself.",
        stacklevel=3,
    )
