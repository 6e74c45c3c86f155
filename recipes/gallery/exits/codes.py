import sys


def exits(context, params):
    sys.exit(3)


def returns(context, params):
    return 4


def exits_with_zero(context, params):
    sys.exit(0)
