"""Wants more than it is given; `apply` is not called."""


def apply_batch(one, two):
    return one


def apply(input):
    return input
