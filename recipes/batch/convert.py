ABSOLUTE_ZERO = -459.67


def convert(context, params):
    city, degrees = context.get("reading.city", "Nowhere"), context.get("reading.fahrenheit", 32)
    if degrees < ABSOLUTE_ZERO:
        raise ValueError(f"{city}: nothing is as cold as {degrees} degrees Fahrenheit")
    context.set(f"celsius.{city}", round((degrees - 32) * 5 / 9, 1))
