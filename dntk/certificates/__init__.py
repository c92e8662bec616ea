"""Certificates: what an approximation of a kernel lost, by theorems that are each in a file of their own."""

from dntk.bounds import Bound, Intervals
from dntk.certificates.certificate import Certificate, StageError
from dntk.certificates.compose import certify

__all__ = ["Bound", "Certificate", "Intervals", "StageError", "certify"]
