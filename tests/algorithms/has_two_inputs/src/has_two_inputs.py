"""Wants more than it is given."""


def apply(input, state):
    return input
