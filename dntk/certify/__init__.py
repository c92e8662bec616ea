"""Certificates: what an approximation of a kernel lost, by theorems that are each in a file of their own.

``dntk.certify(...)`` is :func:`dntk.certify.compose.certify`; the theorems are imported from their modules, such as
``from dntk.certify.weyl import eigenvalues_near``.
"""

from dntk.certify.bound import Bound, Intervals
from dntk.certify.certificate import Certificate, StageError
from dntk.certify.compose import certify

__all__ = ["Bound", "Certificate", "Intervals", "StageError", "certify"]
