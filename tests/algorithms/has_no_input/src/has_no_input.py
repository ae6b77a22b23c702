"""Wants less than it is given."""


def apply():
    return 1
