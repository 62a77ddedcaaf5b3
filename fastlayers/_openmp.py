"""Load the kernels, and with them the OpenMP runtime, so that idle threads go to sleep soon.

Between two parallel regions GNU's runtime lets its threads spin for milliseconds. On a machine that has anything else
to do, or where another library has a pool of its own, they then hold the cores that the work needs, and small
networks train many times slower on two threads than on one. The runtime reads GOMP_SPINCOUNT once, when it is loaded,
so the variable is set for that moment only; a value of the user's, or OMP_WAIT_POLICY, stays in force.
"""

from __future__ import annotations

import os

SPINS = "2000"  # some 30 microseconds: longer than the gap between the ops of a training step

_decided = {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys()
if not _decided:
    os.environ["GOMP_SPINCOUNT"] = SPINS
try:
    from fastlayers._kernels import runtime  # noqa: F401
except ImportError as error:
    raise ImportError(
        f"fastlayers' compiled kernels are missing or do not load ({error}). From a source tree, install it first: "
        "python -m pip install ."
    ) from error
finally:
    if not _decided:
        del os.environ["GOMP_SPINCOUNT"]
