"""When small ops are shared out: the rule of kernels/include/burst.h, on a clock of our own."""

from __future__ import annotations

from fastlayers._kernels import runtime

LARGE, SMALL, MICRO = 1e9, 2e6, 1e-6  # of work, of work, of a second


def test_small_ops_are_shared_out_while_the_team_of_the_last_op_is_awake() -> None:
    burst = runtime.Burst()
    assert not burst.op(1, 1 + 50 * MICRO, SMALL), "nobody is awake"
    assert burst.op(2, 2 + 900 * MICRO, LARGE)
    assert burst.op(2 + 910 * MICRO, 2 + 930 * MICRO, SMALL)
    assert burst.op(2 + 940 * MICRO, 2 + 960 * MICRO, SMALL), "and stays awake"
    assert not burst.op(3, 3 + 50 * MICRO, SMALL), "asleep again"


def test_small_ops_that_follow_each_other_wake_a_team_when_they_are_worth_it() -> None:
    def shared(pause: float) -> list[bool]:
        burst = runtime.Burst()
        return [
            burst.op(begin, begin + 50 * MICRO, SMALL) for begin in (1 + i * (50 * MICRO + pause) for i in range(6))
        ]

    assert shared(pause=10 * MICRO) == [False, False, False, True, True, True]
    assert shared(pause=1000 * MICRO) == [False] * 6


def test_a_small_op_that_waited_for_a_core_is_followed_by_ops_on_one_thread() -> None:
    burst = runtime.Burst()
    assert burst.op(1.000, 1.001, LARGE)
    assert burst.op(1.001, 1.009, SMALL), "8 ms: others have the core"
    assert burst.op(1.009, 1.010, LARGE)
    assert not burst.op(1.010, 1.01002, SMALL)
    assert burst.op(1.200, 1.201, LARGE)
    assert burst.op(1.201, 1.20102, SMALL), "tried again"
