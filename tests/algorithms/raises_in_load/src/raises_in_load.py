def load():
    raise RuntimeError("the load went wrong")


def apply(input):
    return input
