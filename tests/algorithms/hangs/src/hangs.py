import time


def apply(input):
    if input == "busy":
        while True:
            pass
    time.sleep(input)
    return input
