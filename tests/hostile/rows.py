"""The rows of the catalogue of attacks and faults, by section, and why some of them have no test here."""

from __future__ import annotations

ROWS = {
    "A": (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 15, 16, 17, 18, 19, 20, 21, 23, 24, 25, 26, 27),
    "B": (28, 29, 30, 31, 32, 33, 35, 36, 37, 39, 40, 41, 43, 45, 47, 49, 50, 51, 52, 53),
    "C": (54, 55, 56, 57, 58, 59, 61, 62, 63),
    "D": (64, 65, 66, 67, 68, 69, 70),
    "E": (71, 73, 75, 76, 77, 78, 79, 80, 82, 83),
    "F": (84, 85, 86, 87, 88, 89, 91, 94, 95, 96, 98, 99, 100),
    "G": (101, 102, 103, 104, 105, 107, 108, 109, 110, 111, 112, 114, 115, 116, 117, 118, 119),
    "H": (120, 121, 123, 124, 125, 126, 128, 129, 130, 131, 132, 133, 134, 135),
    "I": (
        *(136, 137, 138, 140, 141, 143, 145, 146, 147, 148, 149, 150, 151, 152, 154, 155),
        *(157, 158, 159, 160, 161, 162, 163, 164, 165, 166, 167),
    ),
}
"""Privilege, resources, output, network, leaks, files read back, contents, what comes in, faults of the host."""

NOT_TESTED: dict[int, str] = {}
"""Each reason is a sentence, true of this product and of the machines that it is tested on."""
