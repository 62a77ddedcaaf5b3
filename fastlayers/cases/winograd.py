"""How far Winograd's sums may lie from the true ones.

    Y = Aᵀ [ (G g Gᵀ) ⊙ (Bᵀ d B) ] A        summed over the k channels, and the parts of the kernel, before Aᵀ…A

Every step is a sum of products with constants, so the rounding errors are at most (k + c)·eps times the same formula
with absolute values of all that goes in, where k counts the channels of all parts and c the operations of the
transforms on one number's way. This bound is about the tile: beside a large input, a small output may be off by the
large one's rounding.

A stride, or more taps than the form has, makes the kernel a sum of parts; each has every stride-th tap from its first
on, and sees x at every stride-th pixel. A form of one axis leaves the other alone: tiles of one pixel, one tap.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from fastlayers.cases.table import Array
from fastlayers.shapes import Window2D

TRANSFORMS = 40  # operations of all transforms on the way of one number, generously
HALF, TWO = math.sqrt(0.5), math.sqrt(2.0)
POINTS: dict[int, tuple[float, ...]] = {
    1: (),
    4: (0.0, 1.0, -1.0),
    5: (HALF, -HALF, TWO, -TWO),
    6: (0.0, HALF, -HALF, TWO, -TWO),
}


def _polynomials(m: int, taps: int) -> tuple[Array, Array, Array]:
    """|Aᵀ|, |Bᵀ| and |G| of Toom and Cook's construction for m outputs, on the points beside infinity."""
    points = POINTS[m + taps - 1]
    count = len(points)
    A, B, G = np.zeros((m, count + 1)), np.zeros((count + 1, count + 1)), np.zeros((taps, count + 1))
    for i, point in enumerate(points):
        others = [other for other in points if other != point]
        A[:, i] = point ** np.arange(m)
        B[i, :count] = np.poly(others)[::-1]
        G[:, i] = point ** np.arange(taps) / math.prod(point - other for other in others)
    A[-1, -1] = G[-1, -1] = 1
    B[-1] = np.atleast_1d(np.poly(points))[::-1]
    return abs(A), abs(B), abs(G.T)


@dataclass(frozen=True)
class Form:
    """Tiles of `tile` outputs and parts of `taps` taps along each of its axes; p = tile + taps - 1 points.

    It computes kernels with one of `sizes` taps along each axis, or along the only one, and one tap along the other.
    """

    tile: int
    taps: int
    sizes: tuple[int, ...]
    axes: int = 2
    stride: int = 1

    def fits(self, kernel: tuple[int, int], strides: tuple[int, int], dilation: tuple[int, int]) -> bool:
        if strides != (self.stride, self.stride) or (self.stride > 1 and dilation != (1, 1)):
            return False
        if self.axes == 1:
            return min(kernel) == 1 and max(kernel) in self.sizes
        return kernel[0] in self.sizes and (kernel[1] in self.sizes if self.stride > 1 else kernel[1] == kernel[0])


FORMS = {
    "winograd_f4": Form(4, 3, (3,)),
    "winograd_f2": Form(2, 3, (3,)),
    "winograd_f2_5x5": Form(2, 5, (5,)),
    "winograd_f4_2x2": Form(4, 2, (3, 4), stride=2),
    "winograd_f3_1x4": Form(3, 4, (5, 6, 7, 8), axes=1),
}


@dataclass(frozen=True)
class Axis:
    """What of x an output sees along an axis: tap i of pixel r is x[r·stride - pad + i·dilation]."""

    kernel: int
    pad: int
    stride: int
    dilation: int


def axes_of(window: Window2D, top: int, left: int) -> tuple[Axis, Axis]:
    """Those of a window over an image padded by top and left."""
    return Axis(window.kh, top, window.sh, window.dh), Axis(window.kw, left, window.sw, window.dw)


@dataclass(frozen=True)
class Tiles:
    """The tiles of a form along an axis that cover `pixels` outputs."""

    axis: Axis
    tile: int
    taps: int
    pixels: int

    def outputs(self) -> Array:
        """The pixels of each tile, which are a dilation apart: (T, tile)."""
        step = self.axis.dilation
        starts = [start for start in range(self.pixels) if start // step % self.tile == 0]
        return np.array(starts, np.intp).reshape(-1, 1) + step * np.arange(self.tile)

    def inputs(self, first: int) -> Array:
        """The pixels of x that the part of the kernel from tap `first` on sees under each tile: (T, p)."""
        axis, size = self.axis, self.tile + self.taps - 1
        start = self.outputs()[:, :1] * axis.stride - axis.pad + first * axis.dilation
        return np.asarray(start + axis.stride * axis.dilation * np.arange(size))

    def parts(self) -> list[int]:
        """The first tap of each part of the kernel."""
        kernel, stride = self.axis.kernel, self.axis.stride
        return [first for phase in range(min(stride, kernel)) for first in range(phase, kernel, stride * self.taps)]

    def tap_indices(self, first: int) -> Array:
        """The taps of a part, fewer than the form's where the kernel ends."""
        kernel, stride = self.axis.kernel, self.axis.stride
        return np.arange(first, min(kernel, first + stride * self.taps), stride)


def _tiles(form: Form, axes: tuple[Axis, Axis], rows: int, cols: int) -> tuple[Tiles, Tiles]:
    along = (True, True) if form.axes == 2 else (axes[1].kernel == 1, axes[1].kernel != 1)
    y, x = (
        Tiles(axis, *((form.tile, form.taps) if tiled else (1, 1)), pixels)
        for axis, tiled, pixels in zip(axes, along, (rows, cols), strict=True)
    )
    return y, x


def _parts(y: Tiles, x: Tiles) -> Iterator[tuple[int, int]]:
    return ((first_y, first_x) for first_y in y.parts() for first_x in x.parts())


def _patches(x: Array, y: Array, c: Array) -> Array:
    """x at rows y (TY, i) and columns c (TX, j), 0 where they lie outside: (N, TY, TX, i, j, K)."""
    padded = np.pad(x, ((0, 0), (0, 1), (0, 1), (0, 0)))  # what lies outside reads the zeros at the end
    y, c = (np.where((i < 0) | (i > size), size, i) for i, size in ((y, x.shape[1]), (c, x.shape[2])))
    return np.asarray(padded[:, y[:, None, :, None], c[None, :, None, :]])


def bound(x: Array, W: Array, rows: int, cols: int, axes: tuple[Axis, Axis], form: Form, eps: float) -> Array:
    """For y (N, rows, cols, G·O), the convolution of x (N, H, W, G·K) with W (G, KH, KW, K, O), group by group."""
    images = np.split(x, len(W), axis=3)
    return np.concatenate([_bound(*pair, rows, cols, axes, form, eps) for pair in zip(images, W, strict=True)], axis=3)


def _bound(x: Array, W: Array, rows: int, cols: int, axes: tuple[Axis, Axis], form: Form, eps: float) -> Array:
    ty, tx = _tiles(form, axes, rows, cols)
    (Ay, By, Gy), (Ax, Bx, Gx) = _polynomials(ty.tile, ty.taps), _polynomials(tx.tile, tx.taps)
    out_y, out_x = ty.outputs(), tx.outputs()
    whole = np.zeros((len(x), out_y.max(initial=-1) + 1, out_x.max(initial=-1) + 1, W.shape[3]))
    for first_y, first_x in _parts(ty, tx):
        taps = abs(W)[np.ix_(ty.tap_indices(first_y), tx.tap_indices(first_x))]
        V = np.einsum(
            "ai,ntuijk,bj->ntukab", By, _patches(abs(x), ty.inputs(first_y), tx.inputs(first_x)), Bx, optimize=True
        )
        U = np.einsum("ai,ijko,bj->abko", Gy[:, : len(taps)], taps, Gx[:, : taps.shape[1]], optimize=True)
        Y = np.einsum("ia,ntukab,abko,jb->ntiujo", Ay, V, U, Ax, optimize=True)
        whole[:, out_y[:, :, None, None], out_x] += Y
    terms = W.shape[2] * len(ty.parts()) * len(tx.parts())
    return np.asarray((terms + TRANSFORMS) * eps * whole[:, :rows, :cols])


def weight_bound(x: Array, dy: Array, groups: int, axes: tuple[Axis, Axis], form: Form, eps: float) -> Array:
    """For dW (KH, KW, C/groups, O) of x (N, H, W, C) and dy (N, OH, OW, O), whose tiles are the filters."""
    pairs = zip(np.split(x, groups, axis=3), np.split(dy, groups, axis=3), strict=True)
    return np.concatenate([_weight_bound(*pair, axes, form, eps) for pair in pairs], axis=3)


def _weight_bound(x: Array, dy: Array, axes: tuple[Axis, Axis], form: Form, eps: float) -> Array:
    ty, tx = _tiles(form, axes, dy.shape[1], dy.shape[2])
    (Ay, By, Gy), (Ax, Bx, Gx) = _polynomials(ty.taps, ty.tile), _polynomials(tx.taps, tx.tile)
    Z = np.einsum("ai,ntuijo,bj->ntuoab", Gy, _patches(abs(dy), ty.outputs(), tx.outputs()), Gx, optimize=True)
    whole = np.zeros((axes[0].kernel, axes[1].kernel, x.shape[3], dy.shape[3]))
    for first_y, first_x in _parts(ty, tx):
        V = np.einsum(
            "ai,ntuijk,bj->ntukab", By, _patches(abs(x), ty.inputs(first_y), tx.inputs(first_x)), Bx, optimize=True
        )
        y, c = ty.tap_indices(first_y), tx.tap_indices(first_x)
        whole[np.ix_(y, c)] = np.einsum("ia,ntukab,ntuoab,jb->ijko", Ay, V, Z, Ax, optimize=True)[: len(y), : len(c)]
    terms = len(x) * len(ty.outputs()) * len(tx.outputs())
    return np.asarray((terms + TRANSFORMS) * eps * whole)
