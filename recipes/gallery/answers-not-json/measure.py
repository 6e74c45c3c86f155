def measure(context, params):
    return {"ratio": float("nan")}
