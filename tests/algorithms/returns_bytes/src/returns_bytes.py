def apply(input):
    return bytearray(input)[::-1]
