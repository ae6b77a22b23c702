import time


def load():
    time.sleep(300)


def apply(input):
    return input
