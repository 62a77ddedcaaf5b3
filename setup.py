"""Build of the compiled kernels.

Three folders, three rules:

    kernels/runtime/*.c     compiled once
    kernels/driver/*.c      compiled once per dtype
    kernels/ukernels/*.c    compiled once per dtype and instruction set

All objects go into one static archive; every kernels/<family>.pyx becomes the module fastlayers._kernels.<family>,
kernels/public/<name>.pyx the module fastlayers.<name>, and links from the archive what it needs. Objects are kept in
build/kernels under a hash of everything that went into them, so a rebuild compiles what changed and nothing else.

Environment: FASTLAYERS_OPENMP=require (fail without OpenMP) or 0 (build single-threaded);
FASTLAYERS_SANITIZE=address,undefined (debug build with gcc's sanitizers).
"""

import hashlib
import os
import platform
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

KERNELS = Path("kernels")
HEADERS = [str(KERNELS / "include"), "fastlayers/include/fastlayers"]  # the latter are for other packages as well
CACHE = Path("build/kernels")
CFLAGS = ["-O3", "-std=gnu11", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math", "-fvisibility=hidden",
          "-fPIC", "-g0", "-Wall", "-Wextra", "-Wno-unknown-pragmas"]  # fmt: skip
DTYPES = {"f32": [], "f64": ["-DFL_DOUBLE"]}
X86 = {
    "baseline": ["-DFL_VECTOR_BYTES=16"],
    "avx2": ["-DFL_VECTOR_BYTES=32", "-mavx2", "-mfma"],
    "avx512": ["-DFL_VECTOR_BYTES=64", "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx2", "-mfma",
               "-mprefer-vector-width=512", "-mtune=skylake-avx512"],  # tuned, else addresses go to vector registers
}  # fmt: skip
ARM64 = {"neon": ["-DFL_VECTOR_BYTES=16"]}
OTHER = {"baseline": ["-DFL_VECTOR_BYTES=16"]}

NO_COMPILER = """
fastlayers is compiled during installation and needs a working C compiler and the Python headers.
On Debian or Ubuntu:  sudo apt-get install gcc python3-dev
The compiler said:
{error}
"""
NO_OPENMP = """
fastlayers: the C compiler cannot build and run an OpenMP program, so the kernels are built SINGLE-THREADED.
For all cores, install an OpenMP runtime for it (gcc: package libgomp1; clang: libomp-dev) and install fastlayers again.
"""
OPENMP_PROBE = """
#include <omp.h>
#include <stdio.h>
int main(void) {
    int n = 0;
    #pragma omp parallel reduction(+:n) num_threads(2)
    n += 1;
    printf("%d %d", _OPENMP, n);
    return n < 1;
}
"""


def instruction_sets():
    """Rows name -> flags of this target's micro-kernels, slowest first."""
    machine = os.environ.get("_PYTHON_HOST_PLATFORM", platform.machine()).lower()
    if any(word in machine for word in ("x86_64", "amd64")):
        return X86
    if any(word in machine for word in ("aarch64", "arm64")):
        return ARM64
    return OTHER


class Probe:
    """Asks the configured compiler whether it can do a thing, in a folder of its own."""

    def __init__(self, compiler):
        self.compiler = compiler

    def _try(self, source, flags, link, run):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "probe.c")
            path.write_text(source)
            try:
                command = [*self.compiler.compiler_so, *flags]
                command += [str(path), "-o", str(Path(folder, "probe")), *(link if run else ["-c"])]
                subprocess.run(command, check=True, capture_output=True, text=True)
                if run:
                    subprocess.run([Path(folder, "probe")], check=True, capture_output=True, text=True, timeout=60)
            except (OSError, subprocess.SubprocessError) as error:
                return (getattr(error, "stderr", None) or str(error)).strip()
        return None

    def error_of_compiling(self, source, flags=()):
        return self._try(source, flags, (), run=False)

    def error_of_running(self, source, flags=(), link=()):
        return self._try(source, flags, link, run=True)


def openmp_flags(probe):
    """(compile flags, link flags), both empty when OpenMP is absent or switched off."""
    wish = os.environ.get("FASTLAYERS_OPENMP", "auto")
    if wish == "0":
        return [], []
    candidates = [(["-fopenmp"], ["-fopenmp"])]
    if sys.platform == "darwin":
        prefixes = [os.environ.get("LIBOMP_PREFIX"), "/opt/homebrew/opt/libomp", "/usr/local/opt/libomp"]
        candidates += [
            (["-Xpreprocessor", "-fopenmp", f"-I{p}/include"], [f"-L{p}/lib", "-lomp"]) for p in prefixes if p
        ]
    for compile_flags, link_flags in candidates:
        error = probe.error_of_running(OPENMP_PROBE, compile_flags, link_flags)
        if error is None:
            return compile_flags, link_flags
    if wish == "require":
        raise SystemExit(f"FASTLAYERS_OPENMP=require, but OpenMP does not work with this compiler:\n{error}")
    print(NO_OPENMP, file=sys.stderr)
    return [], []


@cache
def headers_of(source):
    """The headers of ours that a C file includes, whatever the conditions around them, directly or through others."""
    names = re.findall(r'^\s*#\s*include\s+"([^"]+)"', source.read_text(), re.MULTILINE)
    direct = {path for name in names for folder in HEADERS if (path := Path(folder, name)).exists()}
    return direct.union(*map(headers_of, direct))


class BuildKernels(build_ext):
    """build_ext that first compiles the C bodies, per dtype and instruction set, into one archive."""

    def build_extensions(self):
        import numpy  # needed here only: reading the metadata must not require it

        self.cython_c_in_temp = True
        probe = Probe(self.compiler)
        python_headers = [f"-I{folder}" for folder in self.compiler.include_dirs + self.include_dirs]
        error = probe.error_of_compiling("#include <Python.h>\nint probe(void) { return 0; }\n", python_headers)
        if error:
            raise SystemExit(NO_COMPILER.format(error=error))
        self.isas = {
            name: flags
            for name, flags in instruction_sets().items()
            if probe.error_of_compiling("int probe(void) { return 0; }\n", flags) is None
        }
        self.openmp_compile, self.openmp_link = openmp_flags(probe)
        sanitizers = os.environ.get("FASTLAYERS_SANITIZE")
        self.sanitize = [f"-fsanitize={sanitizers}", "-g", "-O1", "-fno-omit-frame-pointer"] if sanitizers else []

        archive = self.archive_of(self.compile_objects())
        for extension in self.extensions:
            extension.include_dirs = [*HEADERS, str(KERNELS), numpy.get_include()]
            extension.cython_include_dirs = [str(KERNELS), "."]
            extension.extra_objects = [archive]
            extension.depends = [
                *extension.depends,
                archive,
            ]  # a new archive has a new name: relinks on any change
            extension.extra_compile_args = [*CFLAGS, *self.isa_macros(), *self.sanitize]
            extension.extra_link_args = [
                *self.openmp_link,
                *self.sanitize,
                *(() if self.sanitize else self.strip_flags()),
            ]
        stamp = CACHE / f"stamp-{Path(self.build_lib).name if not self.inplace else 'inplace'}"
        setup_text = "\n".join([archive, sys.version, numpy.__version__, *self.openmp_link, *self.sanitize])
        if not stamp.exists() or stamp.read_text() != setup_text:
            self.force = True
        super().build_extensions()
        stamp.write_text(setup_text)

    @staticmethod
    def strip_flags():
        return ["-Wl,-s"] if sys.platform.startswith("linux") else []

    def isa_macros(self):
        return [f"-DFL_HAVE_{name.upper()}" for name in self.isas]

    def jobs(self):
        """(source, flags) of every object."""
        plain = [*CFLAGS, *self.isa_macros()]
        for source in sorted((KERNELS / "runtime").glob("*.c")):
            yield source, [*plain, *self.openmp_compile]
        for dtype_flags in DTYPES.values():
            for source in sorted((KERNELS / "driver").glob("*.c")):
                yield source, [*plain, *dtype_flags]
            for isa, isa_flags in self.isas.items():
                for source in sorted((KERNELS / "ukernels").glob("*.c")):
                    yield source, [*plain, *dtype_flags, *isa_flags, f"-DFL_ISA={isa}"]

    def compile_objects(self):
        command = [*self.compiler.compiler_so, *(f"-I{folder}" for folder in HEADERS)]
        CACHE.mkdir(parents=True, exist_ok=True)

        def compile_one(job):
            source, flags = job
            flags = [*flags, *self.sanitize]
            recipe = " ".join([*command, *flags, str(source)]).encode()
            text = b"".join(path.read_bytes() for path in [source, *sorted(headers_of(source))])
            key = hashlib.sha256(recipe + text).hexdigest()[:20]
            target = CACHE / f"{source.stem}-{key}.o"
            if not target.exists():
                unfinished = target.with_suffix(f".{os.getpid()}")
                done = subprocess.run(
                    [*command, *flags, "-c", str(source), "-o", str(unfinished)],
                    capture_output=True,
                    text=True,
                )
                if done.returncode:
                    raise SystemExit(f"compiling {source} failed:\n{done.stderr}")
                if done.stderr:
                    print(done.stderr, file=sys.stderr)
                os.replace(unfinished, target)
            return str(target)

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return list(pool.map(compile_one, self.jobs()))

    def archive_of(self, objects):
        """The static archive of these objects, named by them."""
        archive = CACHE / f"libfastlayers-{hashlib.sha256(' '.join(objects).encode()).hexdigest()[:20]}.a"
        if not archive.exists():
            unfinished = archive.with_suffix(f".{os.getpid()}.a")
            subprocess.run([os.environ.get("AR", "ar"), "rcs", str(unfinished), *objects], check=True)
            os.replace(unfinished, archive)
        return str(archive)


# What a module depends on beside its own .pyx; listing it also puts it into the source distribution.
shared = [str(path) for pattern in ("*/*.[ch]", "*.pxd") for path in sorted(KERNELS.glob(pattern))]
setup(
    ext_modules=[
        Extension(f"fastlayers._kernels.{path.stem}", [str(path)], depends=shared)
        for path in sorted(KERNELS.glob("*.pyx"))
    ]
    + [
        Extension(f"fastlayers.{path.stem}", [str(path)], depends=[*shared, f"fastlayers/{path.stem}.pxd"])
        for path in sorted(KERNELS.glob("public/*.pyx"))
    ],
    cmdclass={"build_ext": BuildKernels},
)
