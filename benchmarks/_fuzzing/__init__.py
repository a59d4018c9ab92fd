"""Loaders that are fuzzed: how files for them are written, damaged and judged."""

from _fuzzing import arrays, codes, media, models

LOADERS = {**arrays.LOADERS, **codes.LOADERS, **media.LOADERS, **models.LOADERS}
