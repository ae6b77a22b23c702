class Array:
    """As numpy's, as far as it matters."""

    def __init__(self, values):
        self.values = values

    def tolist(self):
        return self.values


class Scalar:
    def item(self):
        return 7


CIRCLE = []
CIRCLE.append(CIRCLE)
DEEP = []
for _ in range(100_000):
    DEEP = [DEEP]

RESULTS = {
    "object": object(),
    "nan": float("nan"),
    "circle": CIRCLE,
    "deep": DEEP,
    "surrogate": "\ud800",
    "inner surrogate": ["\ud800"],
    "none": None,
    "array": Array([1, 2.5]),
    "arrays": {"a": Array([[1], [2]]), "b": Scalar()},
    "bytes inside": {"a": b"1"},
    "large": "x" * (64 * 1024 * 1024 + 1),
    "unicode": {"snow": "\u2603"},
}


def apply(input):
    return RESULTS[input]
