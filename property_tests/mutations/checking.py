"""Run-time checks of shapes and types: which functions remember names of sizes."""

from property_tests.mutations.mutant import Mutant

REFUSED = "tests/test_checking.py::test_wrong_shapes_and_types_are_errors_while_checking"

MUTANTS = [
    Mutant(
        "dntk/_checking.py",
        "return any(map(_has_shape, get_args(annotation)))",
        "return False",
        "arrays within lists and unions whose sizes are not compared",
        REFUSED + "[two arguments within others]",
    ),
    Mutant(
        "dntk/_checking.py",
        "if isinstance(annotation, str | TypeVar | ForwardRef) or",
        "if isinstance(annotation, TypeVar | ForwardRef) or",
        "sizes in annotations that are text not compared",
        REFUSED + "[two arguments annotated by text]",
    ),
    Mutant(
        "dntk/_checking.py",
        "return beartype(conf=BeartypeConf(is_pep484_tower=True, violation_type=TypeCheckError))(function)",
        "return function",
        "functions without arrays not checked at all",
        REFUSED + "[number without arrays]",
    ),
    Mutant(
        "dntk/_checking.py",
        "BeartypeConf(is_pep484_tower=True, violation_type=TypeCheckError)",
        "BeartypeConf(is_pep484_tower=True)",
        "another error than that of checks",
        REFUSED + "[property]",
    ),
]
