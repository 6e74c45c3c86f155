def fail(context, params):
    raise RuntimeError("no")


def speak(context, params):
    print("yes")
