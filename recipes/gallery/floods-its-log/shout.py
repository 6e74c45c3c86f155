def shout(context, params):
    while True:
        print("again and again")
