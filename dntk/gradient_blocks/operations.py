"""How many operations inner products of gradients Σ_t g_t ⊗ a_t take, by the cheaper of two ways.

Which way is taken depends on how many inputs there are, so that what many will cost does not follow from a few.
"""

import dataclasses

ELEMENTWISE = 32
"""Operations of a matrix product in whose time one product of a tile is multiplied and summed, as measured."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Products:
    """Inner products of gradients of a weight (b, a) at some inputs with those at others, or with themselves.

    Parameters
    ----------
    inputs
        Numbers n1 and n2 of inputs on both sides.
    positions
        Numbers t1 and t2 of positions of each input.
    sides
        Sizes a and b.
    functionals
        Number q of functionals of each input.
    pairs
        Pairs of functionals whose products are taken: q, or all q².
    joined
        Whether their mean is asked for, for which cotangents of all are joined.
    same
        Whether both sides are the same gradients: then half of the products are enough.
    """

    inputs: tuple[int, int]
    positions: tuple[int, int]
    sides: tuple[int, int]
    functionals: int
    pairs: int
    joined: bool
    same: bool

    @property
    def contracted(self) -> bool:
        """Whether the tiles of positions cost less than expanding both sides; counts of operations, ties included."""
        (n1, n2), (t1, t2), (a, b) = self.inputs, self.positions, self.sides
        tiles = 1 if self.joined else self.pairs
        contraction = n1 * n2 * t1 * t2 * (2 * a + 2 * self.pairs * b + ELEMENTWISE * tiles)
        return contraction <= self._expansion + 2 * self.pairs * n1 * n2 * a * b

    def operations(self, working_set: int) -> int:
        """As the ledger will count them, the last tile taken for a whole one."""
        if not self.contracted:
            products = 2 * self.pairs * self.inputs[0] * self.inputs[1] * self.sides[0] * self.sides[1]
            return self._expansion + (products // 2 if self.same else products)
        return self._one_position() if self.positions == (1, 1) else self._tiles(working_set)

    @property
    def _expansion(self) -> int:
        """Of expanding the gradients."""
        (n1, n2), (t1, t2), (a, b) = self.inputs, self.positions, self.sides
        return 2 * self.functionals * (n1 * t1 if self.same else n1 * t1 + n2 * t2) * a * b

    def _one_position(self) -> int:
        (n1, n2), (a, b) = self.inputs, self.sides
        products = 2 * self.pairs * b + 2 * a
        return n1 * n2 * ((products // 2 if self.same else products) + (1 if self.joined else self.pairs))

    def _tiles(self, working_set: int) -> int:
        """Products and similarities of the tiles that are computed; on the diagonal half of the similarities."""
        (n1, n2), (t1, t2), (a, b) = self.inputs, self.positions, self.sides
        groups, width = (1, self.functionals * b) if self.joined else (self.pairs, b)
        side = max(1, int((working_set / max(1, groups * t1 * t2)) ** 0.5))
        products = n1 * n2 * t1 * t2 * 2 * groups * (width + 1)
        alike = 2 * n1 * n2 * t1 * t2 * a
        if not self.same:
            return products + alike
        tiles = -(-n1 // side)
        share = (tiles + 1) / (2 * tiles)
        return round(products * share + alike * (share - 1 / (2 * tiles)))
