"""Instruction sets, threads, fork and the process around us."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import fastlayers as fl
from fastlayers import _cpu, settings
from fastlayers._kernels import conv, runtime

PRODUCT = """
import numpy as np, fastlayers as fl
x = np.ones((256, 256), np.float32)
def product():
    with fl.use(threads=2, force_threads=True):
        return float(fl.ops.dense(x, x).sum())
"""
THREADS_BEFORE = """
import os, numpy  # whose BLAS has threads of its own
from pathlib import Path
before = {int(name) for name in os.listdir("/proc/self/task")}
"""
CORES = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()


def python(code: str, timeout: float = 60, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run code in an interpreter of its own."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def output_of(code: str, **environment: str) -> str:
    done = python(code, **environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("isa", settings.available_isas())
def test_the_forced_instruction_set_is_the_one_that_runs(isa: str) -> None:
    """The register tiles differ in shape, so the tile that the driver reports tells which table it reads."""
    code = """
        from fastlayers import settings
        from fastlayers._kernels import conv
        isa = settings.current().isa
        print(settings.isa_name(isa), conv.block_sizes(isa)["register tile, float32"])
    """
    tiles = {"baseline": "6 x 8", "avx2": "6 x 16", "avx512": "12 x 32", "neon": "12 x 8"}
    assert output_of(code, FASTLAYERS_ISA=isa) == f"{isa} {tiles[isa]}"


def test_instruction_sets_give_different_bits() -> None:
    """Without fused multiply-add the baseline rounds otherwise: proof that it is other code that runs."""
    if len(settings.available_isas()) == 1:
        pytest.skip("only one instruction set on this machine")
    rng = np.random.default_rng(0)
    x = rng.standard_normal((64, 200))
    results = []
    for isa in (settings.available_isas()[0], settings.available_isas()[-1]):
        with fl.use(isa=isa):
            results.append(fl.ops.dense(x, x.T.copy()))
    assert not np.array_equal(*results)
    np.testing.assert_allclose(*results, rtol=1e-10, atol=1e-10)


def test_an_unknown_instruction_set_names_those_present() -> None:
    done = python("import fastlayers", FASTLAYERS_ISA="mmx")
    assert done.returncode != 0
    assert "ImportError" in done.stderr
    assert "mmx" in done.stderr
    assert ", ".join(settings.available_isas()) in done.stderr
    with pytest.raises(ValueError, match=r"isa: expected one of .*got 'mmx'"), fl.use(isa="mmx"):
        pass


def test_a_team_has_the_size_asked_for() -> None:
    assert runtime.team_size(3 + runtime.FORCE_TEAM, 10, 0.0) == 3
    assert runtime.team_size(3, 10, 1e9) == 3
    assert runtime.team_size(3, 2, 1e9) == 2, "never more threads than tasks"
    assert runtime.team_size(3, 10, 1e3) == 1, "small work stays on one thread"


def test_the_default_follows_openmps_own_limit() -> None:
    code = "from fastlayers._kernels import runtime; print(runtime.team_size(-2, 10, 1e9))"
    assert output_of(code, OMP_NUM_THREADS="1") == "1"
    assert output_of(code, OMP_NUM_THREADS="2") == "2"


@pytest.mark.skipif(len(CORES) < 2, reason="needs Linux and two cores")
def test_members_of_a_team_leave_their_callers_core_to_it() -> None:
    code = """
    def core_of_the_other():
        (thread,) = {int(name) for name in os.listdir("/proc/self/task")} - before - {os.getpid()}
        return int(Path(f"/proc/self/task/{thread}/stat").read_text().rpartition(")")[2].split()[36])

    product()
    cores = os.sched_getaffinity(0)
    for home in [*sorted(cores)[:2], *sorted(cores)[:2]]:
        os.sched_setaffinity(0, {home})
        for _ in range(5):
            product()
        assert core_of_the_other() != home, home
    print("apart")
    """
    assert output_of(THREADS_BEFORE + PRODUCT + textwrap.dedent(code)) == "apart"


def test_openmps_own_setting_is_left_alone() -> None:
    before = runtime.openmp_max_threads()
    x = np.ones((300, 300), np.float32)
    with fl.use(threads=before + 1, force_threads=True):
        fl.ops.dense(x, x)
    assert runtime.openmp_max_threads() == before


@pytest.mark.parametrize(("name", "value"), [("FASTLAYERS_NUM_THREADS", "3"), ("OMP_NUM_THREADS", "3")])
def test_thread_count_from_the_environment(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.delenv("FASTLAYERS_NUM_THREADS", raising=False)
    monkeypatch.setenv(name, value)
    assert _cpu.default_threads() == (3, f"{name}=3")


@pytest.mark.parametrize(
    ("of_self", "files", "quota"),
    [
        ("0::/job\n", {"job/cpu.max": "150000 100000"}, 1.5),
        ("0::/job/step\n", {"job/cpu.max": "100000 100000", "job/step/cpu.max": "max 100000"}, 1.0),
        ("0::/\n", {}, None),
        (
            "4:cpu,cpuacct:/job\n3:memory:/job\n",
            {"cpu,cpuacct/job/cpu.cfs_quota_us": "50000", "cpu,cpuacct/job/cpu.cfs_period_us": "100000"},
            0.5,
        ),
        ("4:cpu:/job\n", {"cpu/job/cpu.cfs_quota_us": "-1", "cpu/job/cpu.cfs_period_us": "100000"}, None),
    ],
)
def test_cpu_quota_of_control_groups(tmp_path: Path, of_self: str, files: dict[str, str], quota: float | None) -> None:
    (tmp_path / "self").write_text(of_self)
    for name, text in files.items():
        path = tmp_path / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert _cpu.cgroup_quota(tmp_path / "cgroup", tmp_path / "self") == quota


def test_a_quota_below_the_cpus_sets_the_thread_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FASTLAYERS_NUM_THREADS", raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(_cpu, "cgroup_quota", lambda: 0.5)
    assert _cpu.default_threads() == (1, "the control group's CPU quota of 0.5")


def test_settings_are_scoped_to_the_context() -> None:
    outside = settings.current()
    with fl.use(threads=1):
        assert settings.current().threads == 1
        with fl.use(backend="reference"):
            assert (settings.current().threads, settings.current().backend) == (1, "reference")
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(settings.current).result() == outside
    assert settings.current() == outside


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"backend": "gpu"}, ValueError, "backend: expected one of compiled, reference, got 'gpu'"),
        ({"threads": 0}, ValueError, "threads: expected 1 to"),
        ({"threads": 1.5}, TypeError, "threads: expected a positive int, got 1.5"),
        ({"threads": True}, TypeError, "threads: expected a positive int, got True"),
    ],
)
def test_wrong_settings_are_refused(options: dict[str, object], error: type[Exception], message: str) -> None:
    before = settings.current()
    with pytest.raises(error, match=message), fl.use(**options):  # type: ignore[arg-type]
        pass
    assert settings.current() == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
@pytest.mark.parametrize("how", ["os.fork", "multiprocessing"])
def test_a_forked_child_computes(how: str) -> None:
    """OpenMP's own threads do not survive a fork; the child must build new ones, and so must the parent."""
    child = {
        "os.fork": """
            import os
            pid = os.fork()
            if pid == 0:
                os._exit(0 if product() == expected else 1)
            assert os.waitpid(pid, 0)[1] == 0
        """,
        "multiprocessing": """
            import multiprocessing
            with multiprocessing.get_context("fork").Pool(2) as pool:
                assert pool.starmap(product, [()] * 4) == [expected] * 4
        """,
    }[how]
    code = f"{PRODUCT}\nexpected = product()\n{textwrap.dedent(child)}\nassert product() == expected\nprint('ok')"
    assert output_of(code) == "ok"


def test_a_child_forked_after_a_parallel_backward_computes() -> None:
    code = """
        import os
        import numpy as np, fastlayers as fl
        x = np.ones((8, 16, 16, 16), np.float32)
        kernel = np.ones((3, 3, 16, 16), np.float32)
        def gradient():
            with fl.use(threads=2, force_threads=True):
                return fl.ops.conv2d_backward_weight(x, x, (3, 3), padding="same")[0]
        expected = gradient()
        pid = os.fork()
        if pid == 0:
            os._exit(0 if np.array_equal(gradient(), expected) else 1)
        assert os.waitpid(pid, 0)[1] == 0
        print("ok")
    """
    assert output_of(code) == "ok"


def test_many_threads_at_once_get_the_serial_result() -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((4, 12, 11, 8)).astype(np.float32)
    kernel = rng.standard_normal((3, 3, 8, 16)).astype(np.float32)
    expected = fl.ops.conv2d(x, kernel)

    def work(_: int) -> bool:
        with fl.use(threads=2, force_threads=True):
            return np.array_equal(fl.ops.conv2d(x, kernel), expected)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(200)))


def test_denormal_numbers_survive_the_import() -> None:
    """A library linked with -ffast-math would switch the whole process to flush-to-zero."""
    assert output_of("import sys, fastlayers; print(sys.float_info.min / 2 > 0)") == "True"


def test_the_import_leaves_the_environment_alone() -> None:
    code = "import os; before = dict(os.environ); import fastlayers; print(dict(os.environ) == before)"
    assert output_of(code) == "True"


def test_the_configuration_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with fl.use(threads=1):
        fl.show_config()
    shown = capsys.readouterr().out
    for fact in (
        "fastlayers",
        "compiler",
        "CPU",
        "instruction set",
        "threads",
        "fl.use(threads=...)",
        "OpenMP",
    ):
        assert fact in shown
    assert conv.block_sizes(settings.current().isa)["register tile, float32"] in shown


@pytest.mark.parametrize("order", ["import torch, fastlayers as fl", "import fastlayers as fl, torch"])
def test_torch_in_the_same_process(order: str) -> None:
    """Two users of OpenMP in one process, whichever comes first. Runs where torch is installed; it is not required."""
    pytest.importorskip("torch")
    code = f"""
        import numpy as np
        {order}
        x = np.ones((256, 256), np.float32)
        ours = fl.ops.dense(x, x)
        theirs = (torch.from_numpy(x) @ torch.from_numpy(x)).numpy()
        print(np.array_equal(ours, theirs), np.array_equal(fl.ops.dense(x, x), ours))
    """
    assert output_of(code) == "True True"
