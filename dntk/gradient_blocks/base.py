"""What a gradient block answers.

For n inputs and q cotangents (linear functionals of the outputs), a block holds the gradients of those functionals
in one parameter, or in a weight and its bias, of ``size`` coordinates, which begin at ``offset`` in the flattened
parameter vector. Kernels and sketches are sums over blocks, so that an n × P Jacobian never exists.
"""

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

from jaxtyping import Float

from dntk.types import Array


@runtime_checkable
class GradientBlock(Protocol):
    """Per-sample gradients of one parameter for q cotangents and n inputs."""

    @property
    def name(self) -> str:
        """Name of the parameter."""

    @property
    def offset(self) -> int:
        """Position of its first coordinate in the flattened parameter vector."""

    @property
    def size(self) -> int:
        """Number of its coordinates."""

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers (q, n) of cotangents and inputs."""

    @property
    def nbytes(self) -> int:
        """Bytes that the block keeps alive."""

    @property
    def cotangent_nbytes(self) -> int:
        """Bytes of it that one further cotangent adds."""

    def gram(self, other: "GradientBlock") -> Float[Array, "q n1 n2"]:
        """Inner products ⟨G_qi, G'_qj⟩, cotangent by cotangent.

        These and the following two are symmetric to the last bit where ``other`` is the block itself.
        """

    def mean_gram(self, other: "GradientBlock") -> Float[Array, "n1 n2"]:
        """Mean over cotangents of :meth:`gram`, without storing the summands."""

    def cross_gram(self, other: "GradientBlock") -> Float[Array, "q n1 r n2"]:
        """Inner products ⟨G_qi, G'_rj⟩ of every pair of cotangents."""

    def chunks(self, max_coordinates: int) -> Iterator[tuple[int, Float[Array, "q n b"]]]:
        """Dense pieces (first coordinate within the block, gradients); coordinates left out are zero."""

    def dense(self) -> Float[Array, "q n p"]:
        """The whole gradient, flattened in the parameter's own order."""
