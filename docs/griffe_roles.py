"""Turns roles in docstrings, such as ``:func:`dntk.ntk```, into links to what has a page."""

import re
from typing import Any

import griffe

_ROLE = re.compile(r":(?:func|class|meth|mod|data|attr):`~?([\w.]+)`")
_LINK = r'<autoref identifier="\1" optional><code>\1</code></autoref>'


class Roles(griffe.Extension):
    """Rewrites docstrings after they have been read, and leaves everything else alone."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite one docstring, of a module, class, function or attribute."""
        if obj.docstring is not None:
            obj.docstring.value = _ROLE.sub(_LINK, obj.docstring.value)
