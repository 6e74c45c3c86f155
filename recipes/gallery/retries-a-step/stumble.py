from pathlib import Path


def stumble(context, params):
    fallen = Path("/scratch/fallen")  # /scratch lives as long as the run
    context.set("stumble.second" if fallen.exists() else "stumble.first", "was here")
    if not fallen.exists():
        fallen.touch()
        raise RuntimeError("not this time")
