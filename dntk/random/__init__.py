"""Counter-based random numbers: the same draws for a seed on every backend, chunk size and device."""

from dntk.random.streams import (
    WORDS_PER_COUNTER,
    drawing_dtype,
    integers_of,
    moved,
    nearby_signs,
    nearby_words,
    normals,
    signs_of,
    uniforms,
    words,
)

__all__ = [
    "WORDS_PER_COUNTER",
    "drawing_dtype",
    "integers_of",
    "moved",
    "nearby_signs",
    "nearby_words",
    "normals",
    "signs_of",
    "uniforms",
    "words",
]
