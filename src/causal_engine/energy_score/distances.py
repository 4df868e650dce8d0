"""How far apart are two weighted clouds of points, and how sure is that, without ever holding all distances?"""

from __future__ import annotations

import numpy as np

from src.causal_engine.study import FloatArray

BLOCK_ROWS = 128


def energy_distances(space: FloatArray, residual: FloatArray, signed: FloatArray) -> FloatArray:
    """Energy distance between two weighted samples for each of B weightings, shape (B,).

    Points are the rows of ``space`` (n, d) with ``residual`` (n,) beside. A column of ``signed`` (n, B)
    holds the weights of the first sample, summing to 1, and minus those of the second, summing to −1;
    then 2ΣΣab‖·‖ − ΣΣaa′‖·‖ − ΣΣbb′‖·‖ (Székely & Rizzo 2013, eq. 2) is −c'Dc. All columns share one pass
    over the distances, in blocks of rows.
    """
    centred, norms = _centred(space)
    total = np.zeros(signed.shape[1])
    doubled = 2 * signed
    for start in range(0, len(residual), BLOCK_ROWS):
        own = slice(start, min(start + BLOCK_ROWS, len(residual)))
        later = slice(own.stop, None)
        # Distances are symmetric: pairs within the block once, those with later rows twice.
        total -= np.einsum("ib,ib->b", signed[own], _distances(centred, norms, residual, own, own) @ signed[own])
        total -= np.einsum("ib,ib->b", doubled[own], _distances(centred, norms, residual, own, later) @ signed[later])
    return total


def distance_covariances(space: FloatArray, residual: FloatArray, weights: FloatArray) -> FloatArray:
    """Squared distance covariance of ``residual`` (n,) with ``space`` (n, d) for each weighting, shape (B,).

    Székely, Rizzo & Bakirov (2007, eq. 2.8-2.9) with row weights: columns of ``weights`` (n, B), each
    summing to 1. Zero (in the population) only if the two are independent.
    """
    centred, norms = _centred(space)
    joint, own, other, cross = (np.zeros(weights.shape[1]) for _ in range(4))
    for start in range(0, len(residual), BLOCK_ROWS):
        rows = slice(start, start + BLOCK_ROWS)
        b = _distances(centred, norms, None, rows, slice(None))
        a = np.abs(residual[rows, None] - residual)
        row_a, row_b, w = a @ weights, b @ weights, weights[rows]
        joint += np.einsum("ib,ib->b", w, (a * b) @ weights)
        own += np.einsum("ib,ib->b", w, row_a)
        other += np.einsum("ib,ib->b", w, row_b)
        cross += np.einsum("ib,ib,ib->b", w, row_a, row_b)
    return np.asarray(joint + own * other - 2 * cross, dtype=np.float64)


def standardised(x: FloatArray) -> FloatArray:
    """Columns with mean 0 and variance 1, constant ones left out, shape (n, d), at most unit length on average.

    Divided by √d, so that many covariates weigh no more than one residual.
    """
    spread = x.std(axis=0)
    varying = spread > 1e-12 * np.maximum(np.abs(x).max(axis=0, initial=0.0), np.finfo(np.float64).tiny)
    z = (x[:, varying] - x[:, varying].mean(axis=0)) / spread[varying]
    return np.asarray(z / np.sqrt(max(1, z.shape[1])), dtype=np.float64)


def _centred(space: FloatArray) -> tuple[FloatArray, FloatArray]:
    # Far from the origin the identity for squared distances would cancel digits.
    centred = space - space.mean(axis=0)
    return centred, np.asarray((centred**2).sum(axis=1), dtype=np.float64)


def _distances(space: FloatArray, norms: FloatArray, residual: FloatArray | None, a: slice, b: slice) -> FloatArray:
    squared = norms[a, None] + norms[b] - 2 * (space[a] @ space[b].T)
    np.maximum(squared, 0.0, out=squared)
    if residual is not None:
        squared += (residual[a, None] - residual[b]) ** 2
    return np.asarray(np.sqrt(squared, out=squared), dtype=np.float64)
