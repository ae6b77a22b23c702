import os


def load():
    print("last words", flush=True)
    os._exit(5)


def apply(input):
    return input
