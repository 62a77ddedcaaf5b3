"""The specification of every op, in plain NumPy: one function per op, its backward under its forward.

Any floating dtype (float32, float64, longdouble), any memory layout and byte order; results are new
C-contiguous arrays of the input's dtype. Loops run over taps and groups, never over pixels. Nothing here is
fast.
"""
