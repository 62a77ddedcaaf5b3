"""How far Winograd's sums may lie from the true ones.

    Y = Aᵀ [ (G g Gᵀ) ⊙ (Bᵀ d B) ] A        summed over the k channels before Aᵀ…A

Every step is a sum of products with constants, so the rounding errors are at most (k + c)·eps times the same formula
with absolute values of all that goes in, where c counts the operations of the transforms on one number's way. This
bound is about the tile: beside a large input, a small output may be off by the large one's rounding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from fastlayers.cases.table import Array

TRANSFORMS = 40  # operations of all transforms on the way of one number, generously


def _polynomials(points: tuple[float, ...], m: int, taps: int) -> tuple[Array, Array, Array]:
    """|Aᵀ|, |Bᵀ| and |G| of Toom and Cook's construction for m outputs and these points beside infinity."""
    count = len(points)
    A, B, G = np.zeros((m, count + 1)), np.zeros((count + 1, count + 1)), np.zeros((taps, count + 1))
    for i, point in enumerate(points):
        others = [other for other in points if other != point]
        A[:, i] = point ** np.arange(m)
        B[i, :count] = np.poly(others)[::-1]
        G[:, i] = point ** np.arange(taps) / math.prod(point - other for other in others)
    A[-1, -1] = G[-1, -1] = 1
    B[-1] = np.poly(points)[::-1]
    return abs(A), abs(B), abs(G.T)


HALF, TWO = math.sqrt(0.5), math.sqrt(2.0)
POINTS = {4: (0.0, 1.0, -1.0), 6: (0.0, HALF, -HALF, TWO, -TWO)}


@dataclass(frozen=True)
class Form:
    """Tiles of tile × tile outputs, kernels of taps × taps; p = tile + taps - 1 points along an axis."""

    tile: int
    taps: int

    @property
    def size(self) -> int:
        """p, which is also the size of the patch of x under a tile."""
        return self.tile + self.taps - 1


FORMS = {"winograd_f4": Form(4, 3), "winograd_f2": Form(2, 3), "winograd_f2_5x5": Form(2, 5)}


@dataclass(frozen=True)
class Place:
    """What of x an output sees: tap (i, j) of pixel (r, c) is x[r - top + i·step_y, c - left + j·step_x]."""

    top: int
    left: int
    step_y: int
    step_x: int


def starts(pixels: int, tile: int, step: int) -> Array:
    """Where along an axis tiles start whose pixels are `step` apart, so that they cover all."""
    return np.array([start for start in range(pixels) if start // step % tile == 0], np.intp)


def squares(x: Array, form: Form, rows: int, cols: int, size: int, place: Place) -> Array:
    """The size × size pixels of x under the tiles that cover rows × cols: (N, TY, TX, size, size, K)."""
    y = starts(rows, form.tile, place.step_y)[:, None] + place.step_y * np.arange(size) - place.top
    c = starts(cols, form.tile, place.step_x)[:, None] + place.step_x * np.arange(size) - place.left
    padded = np.pad(x, ((0, 0), (0, 1), (0, 1), (0, 0)))  # what lies outside x reads the zeros at its end
    y[(y < 0) | (y > x.shape[1])] = x.shape[1]
    c[(c < 0) | (c > x.shape[2])] = x.shape[2]
    return np.asarray(padded[:, y[:, None, :, None], c[None, :, None, :]])


def bound(x: Array, W: Array, rows: int, cols: int, place: Place, form: Form, eps: float) -> Array:
    """For y (N, rows, cols, O), the convolution of x (N, H, W, K) with W (taps, taps, K, O)."""
    A, B, G = _polynomials(POINTS[form.size], form.tile, form.taps)
    patches = squares(abs(x), form, rows, cols, form.size, place)
    V = np.einsum("ai,ntuijk,bj->ntukab", B, patches, B, optimize=True)
    U = np.einsum("ai,ijko,bj->abko", G, abs(W), G, optimize=True)
    Y = np.einsum("ia,ntukab,abko,jb->ntiujo", A, V, U, A, optimize=True)
    reach = form.tile * np.array([place.step_y, place.step_x])
    whole = np.zeros((len(x), rows + reach[0], cols + reach[1], W.shape[3]))
    y = starts(rows, form.tile, place.step_y)[:, None] + place.step_y * np.arange(form.tile)
    c = starts(cols, form.tile, place.step_x)[:, None] + place.step_x * np.arange(form.tile)
    whole[:, y[:, :, None, None], c] = Y
    return np.asarray((W.shape[2] + TRANSFORMS) * eps * whole[:, :rows, :cols])


def weight_bound(x: Array, dy: Array, place: Place, form: Form, eps: float) -> Array:
    """For dW (taps, taps, C, O) of x (N, H, W, C) and dy (N, OH, OW, O), whose tiles are the filters."""
    A, B, G = _polynomials(POINTS[form.size], form.taps, form.tile)
    rows, cols = dy.shape[1:3]
    patches = squares(abs(x), form, rows, cols, form.size, place)
    V = np.einsum("ai,ntuijk,bj->ntukab", B, patches, B, optimize=True)
    filters = squares(abs(dy), form, rows, cols, form.tile, replace(place, top=0, left=0))
    Z = np.einsum("ai,ntuijo,bj->ntuoab", G, filters, G, optimize=True)
    terms = V.shape[0] * V.shape[1] * V.shape[2]
    W = np.einsum("ia,ntukab,ntuoab,jb->ijko", A, V, Z, A, optimize=True)
    return np.asarray((terms + TRANSFORMS) * eps * W)
