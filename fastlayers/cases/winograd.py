"""How far Winograd's sums may lie from the true ones.

    Y = Aᵀ [ (G g Gᵀ) ⊙ (Bᵀ d B) ] A        summed over the k channels before Aᵀ…A

Every step is a sum of products with constants, so the rounding errors are at most (k + c)·eps times the same formula
with absolute values of all that goes in, where c counts the operations of the transforms on one number's way. This
bound is about the tile: beside a large input, a small output may be off by the large one's rounding.
"""

from __future__ import annotations

import math

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
POINTS = {2: (0.0, 1.0, -1.0), 4: (0.0, HALF, -HALF, TWO, -TWO)}
MATRICES = {m: _polynomials(points, m, 3) for m, points in POINTS.items()}


def tiles(x: Array, rows: int, cols: int, top: int, left: int, m: int) -> Array:
    """The (m+2) × (m+2) patches of x under m × m tiles that cover rows × cols: (N, TY, TX, K, m+2, m+2)."""
    reach_y, reach_x = np.arange(-(-rows // m) * m + 2) - top, np.arange(-(-cols // m) * m + 2) - left
    inside_y, inside_x = (reach_y >= 0) & (reach_y < x.shape[1]), (reach_x >= 0) & (reach_x < x.shape[2])
    padded = np.zeros((x.shape[0], len(reach_y), len(reach_x), x.shape[3]), x.dtype)
    padded[:, np.flatnonzero(inside_y)[:, None], np.flatnonzero(inside_x)] = x[
        :, reach_y[inside_y][:, None], reach_x[inside_x]
    ]
    patches: Array = np.lib.stride_tricks.sliding_window_view(padded, (m + 2, m + 2), axis=(1, 2))[:, ::m, ::m]
    return patches


def bound(x: Array, W: Array, rows: int, cols: int, top: int, left: int, m: int, eps: float) -> Array:
    """For y (N, rows, cols, O), the 3 × 3 convolution of x (N, H, W, K) with W (3, 3, K, O)."""
    A, B, G = MATRICES[m]
    V = np.einsum("ai,ntukij,bj->ntukab", B, tiles(abs(x), rows, cols, top, left, m), B, optimize=True)
    U = np.einsum("ai,ijko,bj->abko", G, abs(W), G, optimize=True)
    Y = np.einsum("ia,ntukab,abko,jb->ntiujo", A, V, U, A, optimize=True)
    whole = Y.reshape(Y.shape[0], Y.shape[1] * m, Y.shape[3] * m, Y.shape[5])[:, :rows, :cols]
    return np.asarray((W.shape[2] + TRANSFORMS) * eps * whole)


def weight_bound(x: Array, dy: Array, top: int, left: int, m: int, eps: float) -> Array:
    """For dW (3, 3, C, O) of x (N, H, W, C) and dy (N, OH, OW, O), whose m × m tiles are the filters."""
    A, B, G = _polynomials(POINTS[m], 3, m)
    rows, cols = dy.shape[1:3]
    V = np.einsum("ai,ntukij,bj->ntukab", B, tiles(abs(x), rows, cols, top, left, m), B, optimize=True)
    patches = tiles(abs(dy), rows, cols, 0, 0, m)[..., :m, :m]
    Z = np.einsum("ai,ntuoij,bj->ntuoab", G, patches, G, optimize=True)
    terms = V.shape[0] * V.shape[1] * V.shape[2]
    W = np.einsum("ia,ntukab,ntuoab,jb->ijko", A, V, Z, A, optimize=True)
    return np.asarray((terms + TRANSFORMS) * eps * W)
