"""Names the species of an iris.

Input: the length and width of a sepal, then of a petal, in cm: [5.1, 3.5, 1.4, 0.2]. Answer: the species, its score
(probability of that species) and the model that said so.
"""

import math

import joblib
from pushpoint.runtime import model

classifier = None


class InputError(Exception):
    """The caller sent something that is not four lengths."""

    error_type = "InputError"


def load():
    """Load the verified model file; the platform calls this once, before the first request."""
    global classifier
    classifier = joblib.load(model.path)


def apply(input):
    """Answer one request."""
    if not isinstance(input, list) or len(input) != 4 or not all(is_length(value) for value in input):
        raise InputError("send four lengths in cm, like [5.1, 3.5, 1.4, 0.2]")
    probabilities = classifier.predict_proba([input])[0]
    best = probabilities.argmax()
    return {
        "species": str(classifier.classes_[best]),
        "score": round(float(probabilities[best]), 4),
        "model": {
            "commit": model.manifest.get("model_origin_commit_SHA"),
            "sha256": model.manifest.get("model_sha256_hash"),
        },
    }


def is_length(value):
    """Tell whether this is a positive number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < math.inf


if __name__ == "__main__":
    load()
    print(apply([5.1, 3.5, 1.4, 0.2]))
