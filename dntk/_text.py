"""Texts for terminals that have ASCII only, where printing a λ would raise ``UnicodeEncodeError``."""

import codecs
import functools
import sys
from collections.abc import Callable
from typing import Any

PLAIN = "dntk.plain"
"""Name of the handler of encoding errors that writes what ASCII has not in words."""

_WORDS = {
    "→": "->", "−": "-", "–": "-", "—": "-", "…": "...", "·": "*", "×": "x", "≤": "<=", "≥": ">=", "≈": "~",
    "±": "+-", "√": "sqrt", "‖": "||", "∞": "inf", "⟨": "<", "⟩": ">", "⊗": "(x)", "∇": "grad ", "∂": "d",
    "Σ": "sum ", "λ": "lambda", "φ": "phi", "ψ": "psi", "Φ": "Phi", "Ψ": "Psi", "Π": "Pi", "κ": "kappa",
    "σ": "sigma", "μ": "mu", "ε": "eps", "δ": "delta", "Δ": "Delta", "η": "eta", "γ": "gamma", "θ": "theta",
    "ᵀ": "^T", "⁻": "^-", "¹": "1", "²": "^2", "³": "^3", "½": "1/2", "\u0304": "_mean", "\u0302": "_hat",
    "\u0303": "_tilde", "é": "e", "ö": "o", "ü": "u", "ä": "a", "’": "'", "✓": "yes", "✗": "no",
}  # fmt: skip


def _in_words(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end]
    words = "".join(_WORDS.get(c, c.encode("ascii", "backslashreplace").decode()) for c in missing)
    return words, error.end


codecs.register_error(PLAIN, _in_words)


def printable(method: Callable[[Any], str]) -> Callable[[Any], str]:
    """A ``__str__`` or ``__repr__`` whose text standard output can show."""

    @functools.wraps(method)
    def text(self: Any) -> str:
        return shown(method(self))

    return text


def shown(text: str) -> str:
    """The text with what standard output's encoding lacks in words."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        return text.encode(encoding, PLAIN).decode(encoding)
    except (LookupError, UnicodeError):  # an encoding that nobody knows
        return text
