def spin(context, params):
    while True:
        pass
