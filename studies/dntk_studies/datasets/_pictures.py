"""Pillow, where it is needed and installed."""

from typing import Any


def pillow() -> Any:
    """Module ``PIL.Image``; ``ImportError`` that says how to get it."""
    try:
        from PIL import Image
    except ImportError as error:
        msg = 'reading pictures needs Pillow, which is not installed: pip install "dntk[images]"'
        raise ImportError(msg) from error
    return Image
