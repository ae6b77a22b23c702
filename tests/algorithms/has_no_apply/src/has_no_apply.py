def applies(input):
    return input
