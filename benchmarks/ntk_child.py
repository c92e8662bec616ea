"""Peak memory of one contestant in a process of its own, as a line of JSON; ``ntk.py`` starts it.

Run: python benchmarks/ntk_child.py CASE MODE CONTESTANT INPUTS MEBIBYTES
"""

import argparse
import json
import warnings

from measure import limit_memory, peak_of, reason
from ntk_contests import contestant
from ntk_networks import CASES
from ntk_peers import Problem

import dntk  # noqa: F401  every process starts from the same imports


def main() -> None:
    """Warm up on two inputs, so that a library's own initialisation is not counted, then measure one call."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("case")
    parser.add_argument("mode")
    parser.add_argument("contestant")
    parser.add_argument("inputs", type=int)
    parser.add_argument("mebibytes", type=int)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    case, peer = CASES[arguments.case], contestant(arguments.contestant)
    limit_memory(arguments.mebibytes)
    try:
        peer.prepare(Problem.of(case, arguments.mode, 2))()
        found = peak_of(peer.prepare(Problem.of(case, arguments.mode, arguments.inputs)))
    except Exception as error:  # whatever a peer raises is what there is to report
        print(json.dumps({"why_not": _because(error, arguments.mebibytes)}))
        return
    print(json.dumps(found))


def _because(error: Exception, mebibytes: int) -> str:
    signs = ("can't allocate memory", "Out of memory", "RESOURCE_EXHAUSTED", "bad_alloc")
    if isinstance(error, MemoryError) or any(sign in str(error) for sign in signs):
        return f"needs more than {mebibytes} MiB"
    return reason(error)


if __name__ == "__main__":
    main()
