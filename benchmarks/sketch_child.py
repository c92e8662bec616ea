"""Peak memory of one way in a process of its own, as a line of JSON; ``sketch.py`` starts it.

Run: python benchmarks/sketch_child.py CASE DIM WAY INPUTS MEBIBYTES
"""

import argparse
import json
import warnings

from measure import limit_memory, peak_of, reason
from sketch_cases import CASES
from sketch_contests import way_of
from sketch_ways import Task


def main() -> None:
    """Warm up on two inputs, so that a library's own initialisation is not counted, then measure one call."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("case")
    parser.add_argument("dim", type=int)
    parser.add_argument("way")
    parser.add_argument("inputs", type=int)
    parser.add_argument("mebibytes", type=int)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    case, way = CASES[arguments.case], way_of(arguments.way)
    limit_memory(arguments.mebibytes)
    try:
        task = Task.of(case, arguments.dim, arguments.inputs)
        way.prepare(Task.of(case, min(arguments.dim, 128), 2))(0)
        found = peak_of(lambda: way.prepare(task)(0))
    except Exception as error:  # whatever a peer raises is what there is to report
        signs = ("can't allocate memory", "not enough memory", "bad_alloc")
        short = isinstance(error, MemoryError) or any(sign in str(error) for sign in signs)
        print(json.dumps({"why_not": f"needs more than {arguments.mebibytes} MiB" if short else reason(error)}))
        return
    print(json.dumps(found))


if __name__ == "__main__":
    main()
