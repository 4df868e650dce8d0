"""Independent ten-line estimators against which the generated data are held."""

import numpy as np
import pandas as pd


def ols(frame: pd.DataFrame, columns: list[str], outcome: str = "outcome") -> tuple[float, float]:
    """Coefficient of the first column and its HC1 standard error."""
    design = np.column_stack([frame[columns].to_numpy(float), np.ones(len(frame))])
    y = frame[outcome].to_numpy(float)
    bread = np.linalg.inv(design.T @ design)
    beta = bread @ design.T @ y
    scores = design * (y - design @ beta)[:, None]
    covariance = bread @ scores.T @ scores @ bread * len(y) / (len(y) - design.shape[1])
    return float(beta[0]), float(np.sqrt(covariance[0, 0]))


def two_stage(frame: pd.DataFrame, instrument: str) -> tuple[float, float, float]:
    """Wald estimate with one binary instrument, its standard error, and the first-stage F."""
    z, t, y = (frame[name].to_numpy(float) for name in (instrument, "treatment", "outcome"))
    centred = z - z.mean()
    first = centred @ t / (centred @ centred)
    beta = (centred @ y) / (centred @ t)
    residual = y - y.mean() - beta * (t - t.mean())
    error = np.sqrt(((centred * residual) ** 2).sum()) / abs(centred @ t)
    noise = t - t.mean() - first * centred
    f_statistic = first**2 * (centred @ centred) / noise.var()
    return float(beta), float(error), float(f_statistic)


def within(frame: pd.DataFrame, outcome: str, regressors: list[str], unit: str) -> tuple[np.ndarray, np.ndarray]:
    """Two-way fixed effects with unit-clustered standard errors, by residualising on unit and month means."""
    data = frame.dropna(subset=[outcome, *regressors])
    values = data[[outcome, *regressors]].astype(float)
    for _ in range(40):
        values = values - values.groupby(data[unit].to_numpy()).transform("mean")
        values = values - values.groupby(data["month"].to_numpy()).transform("mean")
    x, y = values[regressors].to_numpy(), values[outcome].to_numpy()
    bread = np.linalg.inv(x.T @ x)
    beta = bread @ x.T @ y
    scores = pd.DataFrame(x * (y - x @ beta)[:, None]).groupby(data[unit].to_numpy()).sum().to_numpy()
    return beta, np.sqrt(np.diag(bread @ scores.T @ scores @ bread))


def shift(frame: pd.DataFrame, column: str, months: int, unit: str) -> pd.Series:
    """Value of the same unit ``months`` earlier (rows are in order of unit and month)."""
    return frame.groupby(unit)[column].shift(months)
