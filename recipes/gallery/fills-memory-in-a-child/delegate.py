import os


def delegate(context, params):
    child = os.fork()
    if child == 0:
        held = []
        while True:
            held.append(b"x" * 2**20)
    _, status = os.waitpid(child, 0)
    return {"child": os.waitstatus_to_exitcode(status)}
