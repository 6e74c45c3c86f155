import sys


def write(context, params):
    sys.stderr.write("e" * 999 + "\n")  # the one first, then the other, then both by turns
    sys.stdout.write(("o" * 999 + "\n") * 500)
    sys.stderr.write(("e" * 999 + "\n") * 499)
    for _ in range(500):
        sys.stdout.write("o" * 999 + "\n")
        sys.stderr.write("e" * 999 + "\n")
