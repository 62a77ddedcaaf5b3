"""Build of the kernel: gate.c once for each dtype and vector width, and the Cython module that picks among them."""

import platform

import numpy
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

import fastlayers

WIDTHS = {16: []}
if platform.machine().lower() in ("x86_64", "amd64"):
    WIDTHS[32] = ["-mavx2", "-mfma"]
    WIDTHS[64] = ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx2", "-mfma", "-mprefer-vector-width=512"]
DTYPES = {"f32": [], "f64": ["-DFL_DOUBLE"]}
FLAGS = ["-O3", "-std=gnu11", "-fno-math-errno", "-fno-trapping-math"]


class BuildGates(build_ext):
    def build_extensions(self):
        (extension,) = self.extensions
        for width, of_width in WIDTHS.items():
            for dtype, of_dtype in DTYPES.items():
                extension.extra_objects += self.compiler.compile(
                    ["gated_dense/gate.c"],
                    output_dir=f"{self.build_temp}/{dtype}-{width}",
                    include_dirs=[fastlayers.get_include()],
                    extra_postargs=[*FLAGS, f"-DFL_VECTOR_BYTES={width}", f"-DFL_ISA=w{width}", *of_dtype, *of_width],
                )
        super().build_extensions()


kernels = Extension(
    "gated_dense._kernels",
    ["gated_dense/_kernels.pyx"],
    include_dirs=["gated_dense", numpy.get_include()],
    define_macros=[("GATE_WIDE", str(int(64 in WIDTHS))), ("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION")],
    depends=["gated_dense/gate.c", "gated_dense/gate.h"],
)
setup(ext_modules=[kernels], cmdclass={"build_ext": BuildGates})
