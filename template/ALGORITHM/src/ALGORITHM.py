"""Answers the requests to ALGORITHM.

Input: the measurements by name, as in {"flavanoids": 3.0, "color_intensity": 5.5, "proline": 1100}. Answer: the
cultivar, its score (probability of that cultivar) and the model that said so.
"""

import math

import joblib
from pushpoint.runtime import model

saved = None


class InputError(Exception):
    """The caller sent something this model cannot use."""

    error_type = "InputError"


def load():
    """Load the verified model file; the platform calls this once, before the first request."""
    global saved
    saved = joblib.load(model.path)


def apply(input):
    """Answer one request."""
    if not isinstance(input, dict):
        raise InputError("send the measurements by name: " + ", ".join(saved["features"]))
    measurements = [measurement(input, name) for name in saved["features"]]
    probabilities = saved["classifier"].predict_proba([measurements])[0]
    best = probabilities.argmax()
    return {
        "cultivar": str(saved["classifier"].classes_[best]),
        "score": round(float(probabilities[best]), 4),
        "model": {
            "commit": model.manifest.get("model_origin_commit_SHA"),
            "sha256": model.manifest.get("model_sha256_hash"),
        },
    }


def measurement(input, name):
    """Return one measurement, or say what is wrong with it."""
    value = input.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise InputError(f"{name} must be a number")
    return value


if __name__ == "__main__":
    load()
    print(apply({"flavanoids": 3.0, "color_intensity": 5.5, "proline": 1100}))
