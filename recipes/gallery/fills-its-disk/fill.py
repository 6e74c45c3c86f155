from itertools import count
from pathlib import Path


def fill(context, params):
    for number in count():
        Path(params["folder"], f"file-{number}").write_bytes(b"x" * 2**19)


def grow(context, params):
    for path in (*Path("/tmp").iterdir(), *Path("/scratch").iterdir()):  # noqa: S108 - the container's own
        path.unlink()
    with open("/scratch/large", "wb") as file:  # noqa: PTH123
        while True:
            file.write(b"x" * 2**16)
