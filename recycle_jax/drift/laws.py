"""Laws of error growth and their fits to a curve of off-manifold distance against frame.

With frame `n >= 0` counted from the clean context:

    exponential   E(n) = E0 (1 + ε)^n                    ε >= 0                         (1)
    linear        E(n) = E0 + n α                        α >= 0                         (2)
    saturating    E(n) = E∞ - (E∞ - E0) ρ^n              ρ = exp(-1/τ), 1/2 <= τ <= N/2 (3)
    logistic      E(n) = 1 / (1/P + 1 / (E0 (1 + ε)^n))  (1) running into a ceiling P    (4)

`N` is the last frame: a plateau that lies beyond the data cannot be claimed, and at τ = N/2 the curve has
gone 86 % of the way. A curve that does not grow at all is the limiting case E0 = E∞ of (3), with one
parameter.

Distances span decades, so fits are least squares in log E, which are relative errors, the same for all laws;
`E0`, `α`, `E∞`, `P` are positive and fitted as logarithms. With `m` points, residual sum of squares `R` and
`p` parameters, noise variance included (Hurvich and Tsai 1989):

    AICc = m log(R / m) + 2 p + 2 p (p + 1) / (m - p - 1)                               (5)
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Num
from scipy.optimize import least_squares

MIN_POINTS = 6
"""Fewest points at which (5) of every candidate is defined."""
_LEAST = 1e-12

Curve = Num[np.ndarray, " points"]
Theta = Num[np.ndarray, " parameters"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fit:
    """One law fitted to one curve.

    Attributes:
        law: `exponential`, `linear`, `saturating` or `logistic`.
        params: the law's parameters under their names above; distances in the curve's units.
        aicc: (5); comparable between fits to the same points.
    """

    law: str
    params: dict[str, float]
    aicc: float


def evaluate(fit: Fit, frames: Curve) -> Curve:
    """Returns the law's distance at `frames`, for plots."""
    n, p = np.asarray(frames, np.float64), fit.params
    match fit.law:
        case "exponential":
            return p["E0"] * (1.0 + p["eps"]) ** n
        case "linear":
            return p["E0"] + p["alpha"] * n
        case "saturating":
            return p["Einf"] - (p["Einf"] - p["E0"]) * p["rho"] ** n
        case _:
            return 1.0 / (1.0 / p["P"] + (1.0 + p["eps"]) ** -n / p["E0"])


def fit_laws(frames: Curve, curve: Curve) -> list[Fit]:
    """Fits (1) to (3); the saturating law by whichever of its two cases has the lower AICc.

    Raises:
        ValueError: if there are fewer points than AICc needs.
    """
    n, log_e = _prepared(frames, curve)
    return [_exponential(n, log_e), _linear(n, log_e), _saturating(n, log_e)]


def best_law(frames: Curve, curve: Curve) -> Fit:
    """Returns the fit with the lowest AICc among (1) to (3)."""
    return min(fit_laws(frames, curve), key=lambda fit: fit.aicc)


def fit_logistic(frames: Curve, curve: Curve) -> Fit:
    """Fits (4)."""
    n, log_e = _prepared(frames, curve)

    def log_law(theta: Theta) -> Curve:
        log_e0, rate, log_p = theta
        return -np.logaddexp(-log_p, -log_e0 - np.exp(np.clip(rate, -50.0, 50.0)) * n)

    starts = [np.array([log_e[0], np.log(rate), log_e[-3:].mean()]) for rate in 8.0 / np.geomspace(4.0, 8 * n[-1], 8)]
    theta, rss = _polish(log_law, min(starts, key=lambda s: _rss(log_law, s, log_e)), log_e)
    params = {"E0": np.exp(theta[0]), "eps": np.expm1(np.exp(min(theta[1], 3.0))), "P": np.exp(theta[2])}
    return _as_fit("logistic", params, rss, len(n))


def _exponential(n: Curve, log_e: Curve) -> Fit:
    """(1) is a straight line in log E; a falling one is cut to its bound ε = 0."""
    slope, intercept = np.polyfit(n, log_e, 1)
    if slope < 0:
        slope, intercept = 0.0, log_e.mean()
    rss = float(np.sum((log_e - intercept - slope * n) ** 2))
    return _as_fit("exponential", {"E0": np.exp(intercept), "eps": np.expm1(slope)}, rss, len(n))


def _linear(n: Curve, log_e: Curve) -> Fit:
    def log_law(theta: Theta) -> Curve:
        return np.logaddexp(theta[0], theta[1] + np.log(n))

    slopes = np.exp(log_e[-1]) / n[-1] * np.array([1.0, 0.3, 0.01, 1e-4])
    starts = [np.array([log_e[0], np.log(slope)]) for slope in slopes]
    theta, rss = _polish(log_law, min(starts, key=lambda s: _rss(log_law, s, log_e)), log_e)
    return _as_fit("linear", {"E0": np.exp(theta[0]), "alpha": np.exp(theta[1])}, rss, len(n))


def _saturating(n: Curve, log_e: Curve) -> Fit:
    """(3), by a grid over τ with E0 and E∞ solved linearly, then polished; or the constant."""
    flat_rss = float(np.sum((log_e - log_e.mean()) ** 2))
    level = float(np.exp(log_e.mean()))
    flat = _as_fit("saturating", {"E0": level, "Einf": level, "rho": 0.0}, flat_rss, len(n), free=1)

    def log_law(theta: Theta) -> Curve:
        decay = np.exp(-n / _tau(theta[2], n[-1]))
        ends = np.exp(np.clip(theta[:2], -50.0, 50.0))
        return np.log(ends[0] * decay + ends[1] * (1.0 - decay))

    starts = [_linear_start(n, log_e, position) for position in np.linspace(-4.0, 4.0, 17)]
    theta, rss = _polish(log_law, min(starts, key=lambda s: _rss(log_law, s, log_e)), log_e)
    params = {"E0": np.exp(theta[0]), "Einf": np.exp(theta[1]), "rho": np.exp(-1.0 / _tau(theta[2], n[-1]))}
    bent = _as_fit("saturating", params, rss, len(n))
    return min(flat, bent, key=lambda fit: fit.aicc)


def _tau(position: float, last: float) -> float:
    """Maps the real line onto 1/2 … N/2, geometrically."""
    share = 1.0 / (1.0 + np.exp(-np.clip(position, -30.0, 30.0)))
    return float(0.5 * last**share)


def _linear_start(n: Curve, log_e: Curve, position: float) -> Theta:
    decay, e = np.exp(-n / _tau(position, n[-1])), np.exp(log_e)
    design = np.stack([decay, 1.0 - decay], axis=1) / e[:, None]
    ends, *_ = np.linalg.lstsq(design, np.ones_like(e), rcond=None)
    return np.array([*np.log(np.clip(ends, e.min() / 10, e.max() * 10)), position])


def _polish(log_law: Callable[[Theta], Curve], start: Theta, log_e: Curve) -> tuple[Theta, float]:
    result = least_squares(
        lambda theta: log_law(theta) - log_e,
        start,
        method="lm",
        ftol=1e-6,
        xtol=1e-6,
        gtol=1e-8,
        max_nfev=200,
    )
    return result.x, float(2.0 * result.cost)


def _rss(log_law: Callable[[Theta], Curve], theta: Theta, log_e: Curve) -> float:
    return float(np.sum((log_law(theta) - log_e) ** 2))


def _as_fit(law: str, params: dict[str, Any], rss: float, points: int, free: int | None = None) -> Fit:
    p = (len(params) if free is None else free) + 1
    aicc = points * np.log(max(rss / points, _LEAST)) + 2 * p + 2 * p * (p + 1) / (points - p - 1)
    return Fit(law=law, params={name: float(value) for name, value in params.items()}, aicc=float(aicc))


def _prepared(frames: Curve, curve: Curve) -> tuple[Curve, Curve]:
    if len(frames) != len(curve) or len(frames) < MIN_POINTS:
        raise ValueError(f"{len(curve)} distances at {len(frames)} frames: give as many of each, {MIN_POINTS} or more")
    return np.asarray(frames, np.float64), np.log(np.maximum(np.asarray(curve, np.float64), _LEAST))
