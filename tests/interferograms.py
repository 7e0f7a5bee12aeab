"""What fringes tell of a binary, by the equation of the OIFITS standard."""

import numpy as np
from scipy.optimize import least_squares


def companion(made):
    """Separation [arcsec], angle [deg] and flux ratio of a companion in tables of OIFITS, and their errors."""
    vis2, t3, wave = made["OI_VIS2"], made["OI_T3"], float(made["OI_WAVELENGTH"]["EFF_WAVE"][0])

    def visibility(u, v, p):
        east, north, ratio = p[0] / 206264.806, p[1] / 206264.806, p[2]
        return (1 + ratio * np.exp(-2j * np.pi * (u * east + v * north) / wave)) / (1 + ratio)

    def off(p):
        u1, v1, u2, v2 = (t3[name] for name in ("U1COORD", "V1COORD", "U2COORD", "V2COORD"))
        triple = visibility(u1, v1, p) * visibility(u2, v2, p) * visibility(-u1 - u2, -v1 - v2, p)
        phases = (np.degrees(np.angle(triple)) - t3["T3PHI"]) / t3["T3PHIERR"]
        squares = (np.abs(visibility(vis2["UCOORD"], vis2["VCOORD"], p)) ** 2 - vis2["VIS2DATA"]) / vis2["VIS2ERR"]
        return np.concatenate([phases * np.sqrt(15 / 35), squares])  # 15 of 35 closure phases are independent

    starts = [(r * np.sin(a), r * np.cos(a), 0.01) for r in (0.1, 0.2) for a in np.arange(0, 2 * np.pi, np.pi / 6)]
    limits = (-0.5, -0.5, 0), (0.5, 0.5, 0.5)  # a companion 50 times as bright as the star is the same
    fits = [least_squares(off, start, x_scale=(0.01, 0.01, 0.001), bounds=limits) for start in starts]
    best = min(fits, key=lambda one: one.cost)
    covariance = np.linalg.inv(best.jac.T @ best.jac)
    (east, north, ratio), away = best.x, np.hypot(*best.x[:2])
    along = np.array([east, north]) / away
    across = np.array([north, -east]) / away
    sigma = [np.sqrt(d @ covariance[:2, :2] @ d) for d in (along, across)]
    angle = np.degrees(np.arctan2(east, north)) % 360
    return (away, angle, ratio), (sigma[0], np.degrees(sigma[1] / away), np.sqrt(covariance[2, 2]))
