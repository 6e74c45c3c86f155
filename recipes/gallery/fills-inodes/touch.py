from itertools import count
from pathlib import Path


def touch(context, params):
    for number in count():
        Path(f"/scratch/empty-{number}").touch()
