"""A property of somebody's backend, sketch or distiller, and what a check says where it does not hold."""

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import hypothesis
from hypothesis.strategies import SearchStrategy


class CheckFailure(AssertionError):
    """Some properties do not hold; the message names each, with the example that falsifies it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Property:
    """Something that must hold for whatever is drawn.

    Parameters
    ----------
    name
        Two or three words, by which it can be exempted.
    statement
        What must hold, in a sentence or an equation.
    body
        Raises where it does not hold; takes what is drawn by keyword.
    strategies
        What is drawn, by name; empty for a property that needs no examples.
    """

    name: str
    statement: str
    body: Callable[..., None]
    strategies: Mapping[str, SearchStrategy[Any]] = dataclasses.field(default_factory=dict)


def require(condition: Any, message: str) -> None:
    """Raise ``AssertionError`` with ``message`` unless ``condition`` holds; also under ``python -O``."""
    if not condition:
        raise AssertionError(message)


def check_properties(subject: str, properties: Sequence[Property], *, examples: int, exempt: Collection[str]) -> None:
    """Run all properties and raise one :class:`CheckFailure` that tells of all that do not hold.

    Examples are derandomised: the same subject sees the same ones every time.

    Raises
    ------
    ValueError
        ``exempt`` names no property, or ``examples`` is not positive.
    CheckFailure
        At least one property does not hold.
    """
    names = [prop.name for prop in properties]
    unknown = sorted(set(exempt) - set(names))
    if unknown:
        msg = f"`exempt` names {', '.join(map(repr, unknown))}, but the properties are: {', '.join(map(repr, names))}."
        raise ValueError(msg)
    if examples < 1:
        msg = f"`examples` must be positive, got {examples}."
        raise ValueError(msg)
    asked = [prop for prop in properties if prop.name not in exempt]
    found = [(prop, error) for prop in asked if (error := _violation(prop, examples)) is not None]
    if found:
        reports = "\n".join(_report(prop, error) for prop, error in found)
        msg = f"{subject} violates {len(found)} of {len(asked)} properties:\n{reports}"
        raise CheckFailure(msg) from found[0][1]


def _violation(prop: Property, examples: int) -> Exception | None:
    """What went wrong with a property, if anything."""

    def holds(**drawn: Any) -> None:
        prop.body(**drawn)

    holds.__name__ = holds.__qualname__ = prop.name.replace(" ", "_")
    test = holds
    if prop.strategies:
        settings = hypothesis.settings(
            max_examples=examples,
            derandomize=True,
            database=None,
            deadline=None,
            report_multiple_bugs=False,
            phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate, hypothesis.Phase.shrink],
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        test = settings(hypothesis.given(**prop.strategies)(holds))
    try:
        test()
    except Exception as error:  # whatever the subject raises is a violation too
        return error
    return None


def _report(prop: Property, error: Exception) -> str:
    """Name, statement, what happened, and the example that Hypothesis left as a note."""
    said = str(error) if isinstance(error, AssertionError) else f"{type(error).__name__}: {error}"
    lines = [*said.splitlines(), *(line for note in getattr(error, "__notes__", []) for line in note.splitlines())]
    return "\n".join([f"- {prop.name}: {prop.statement}", *(f"    {line}" for line in lines)])
