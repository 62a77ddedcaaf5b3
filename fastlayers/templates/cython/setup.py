"""The compiled module; all else is in pyproject.toml."""

from setuptools import Extension, setup

setup(ext_modules=[Extension("my_layer._kernels", ["src/my_layer/_kernels.pyx"], extra_compile_args=["-O3"])])
