"""How JAX multiplies float32 on accelerators once dntk has seen it."""

import warnings

import pytest

jax = pytest.importorskip("jax")
precision_of = pytest.importorskip("dntk_jax._precision")
FLAG = precision_of.FLAG


@pytest.fixture
def machine(monkeypatch):
    """Sets the default platform, and what the user asked of JAX."""
    before = jax.config.jax_default_matmul_precision

    def of(platform, precision):
        monkeypatch.setattr(jax, "default_backend", lambda: platform)
        jax.config.update(FLAG, precision)

    yield of
    jax.config.update(FLAG, before)


@pytest.mark.parametrize("platform", ["gpu", "tpu"])
def test_accelerators_multiply_whole_numbers_unless_told_otherwise(machine, platform):
    machine(platform, None)
    with pytest.warns(UserWarning, match=f"{FLAG}.*highest.*on {platform}.*choose yourself"):
        precision_of.use_whole_float32()
    assert jax.config.jax_default_matmul_precision == "highest"


@pytest.mark.parametrize(("platform", "precision"), [("gpu", "tensorfloat32"), ("cpu", None)])
def test_what_the_user_chose_stays_and_processors_need_nothing(machine, platform, precision):
    machine(platform, precision)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        precision_of.use_whole_float32()
    assert jax.config.jax_default_matmul_precision == precision
