"""The IRS2 readout and its correction as they are defined: sample by sample, whole series, double precision. What tests compare with."""

import numpy as np
from scipy.ndimage import convolve1d


def clocked(backwards, lines):
    """Row, line and time of every sample, as the readout goes: (output, row of the raw image, column, tick since the frame's start)."""
    reads = []
    tick = 0
    for line in range(lines):
        sample = 0
        while sample < 640:
            run_of_pixels = 8 if sample in (0, 632) else 16
            for kind, number in (("pixel", run_of_pixels), ("jump", 1), ("reference", 4), ("jump", 1)):
                if kind != "jump" and sample < 640:
                    for _ in range(number):
                        for output in range(5):
                            along = 639 - sample if output % 2 == 0 else sample
                            row = 640 * output + along
                            place = (3199 - row, lines - 1 - line) if backwards else (row, line)
                            reads.append((output, *place, tick, kind == "reference"))
                        sample, tick = sample + 1, tick + 1
                elif kind == "jump" and sample < 640:
                    tick += 1
        tick += 8
    return np.array(reads), tick


def defined(groups, found, table, preserve=False, deviations=float):
    """The correction by its definition: whole series, complex transforms, double precision; samples' deviations as the type given."""
    lines = groups.shape[-1]
    reads, frame = clocked(found.backwards, lines)
    where = [tuple(reads[reads[:, 0] == k][:, 1:3].T) for k in range(5)]
    when = [reads[reads[:, 0] == k][:, 3] for k in range(5)]
    is_reference = reads[reads[:, 0] == 0][:, 4] == 1
    mean = groups.mean(axis=0, dtype=float)
    out = groups.astype(float)
    time = np.arange(frame) - (frame - 1) / 2
    ends = (np.arange(frame) // 712 < 4) | (np.arange(frame) // 712 >= lines - 4)
    weights = [table[name][::2] + 1j * table[name][1::2] for name in table.dtype.names]
    frequency = np.minimum(np.arange(frame), frame - np.arange(frame))
    flat, edge = 32 * lines // 2 - 2500, 5000
    away = np.where(frequency < frame // 4, frequency, np.maximum(frame // 2 - frequency - 1, 0))  # from 0, from those next to the fastest
    lowpass = np.where(away < flat, 1, np.where(away < flat + edge, (np.cos((away - flat) * np.pi / edge) + 1) / 2, 0))
    for g, group in enumerate(groups):
        series = np.zeros((5, frame))
        for k in range(5):
            series[k, when[k]] = (group - mean)[where[k]].astype(deviations)
            known = series[k].astype(np.float32) != 0
            series[k, ~known] = 0
            slope, level = np.polyfit(time[ends & known], series[k, ends & known], 1)
            drift = deviations(level) + deviations(slope) * time.astype(deviations)
            series[k, known] = series[k, known].astype(deviations) - drift[known]
        window = np.sin(np.arange(1, 32) / 32 * np.pi)
        known = series[0] != 0
        guess = convolve1d(series[0], window, mode="wrap") / convolve1d(known.astype(float), window, mode="wrap")
        output = np.where(known, series[0], guess)
        pixels = when[0][~is_reference]
        kept = output[pixels]
        for _ in range(3):
            output = np.fft.ifft(np.fft.fft(output) * lowpass).real
            output[pixels] = kept
        for k in range(1, 5):
            own = np.zeros(frame)
            for first in when[k][is_reference][::4]:
                own[first - 2 : first + 6] = series[k, first + np.array([0, 2, 0, 2, 1, 3, 1, 3])]
            noise = np.fft.ifft(weights[3 + k] * np.fft.fft(own) + weights[k - 1] * np.fft.fft(output)).real
            out[g][where[k]] = (series[k] - noise)[when[k]].astype(deviations) + np.where(is_reference, 0, mean[where[k]])
        out[g][where[0]] = output[when[0]] + mean[where[0]]
    return out if preserve else out[:, found.science]
