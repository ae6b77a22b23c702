"""Says whether a product review sounds positive or negative.

Input: one text, or a list of texts. Answer: one result, or a list of results in the same order, each with the
sentiment, its score (probability of that sentiment, 0.5 to 1) and the model that said so.
"""

import joblib
from pushpoint.runtime import model

pipeline = None


class InputError(Exception):
    """The caller sent something that is not a review."""

    error_type = "InputError"


def load():
    """Load the verified model file; the platform calls this once, before the first request."""
    global pipeline
    pipeline = joblib.load(model.path)


def apply(input):
    """Answer one request."""
    texts = check(input)
    results = [result(probability) for probability in pipeline.predict_proba(texts)[:, 1]]
    return results[0] if isinstance(input, str) else results


def check(input):
    """Return the input as a list of texts, or say what is wrong with it."""
    texts = [input] if isinstance(input, str) else input
    if not isinstance(texts, list) or not texts:
        raise InputError("send a text, or a list of at least one text")
    for position, text in enumerate(texts):
        if not isinstance(text, str):
            raise InputError(f"item {position} is {type(text).__name__}, not a text")
        if not text.strip():
            raise InputError(f"item {position} is empty")
    return texts


def result(probability):
    """Turn the probability of "positive" into an answer."""
    positive = probability >= 0.5
    return {
        "sentiment": "positive" if positive else "negative",
        "score": round(float(probability if positive else 1 - probability), 4),
        "model": {
            "commit": model.manifest.get("model_origin_commit_SHA"),
            "sha256": model.manifest.get("model_sha256_hash"),
        },
    }


if __name__ == "__main__":
    load()
    for review in ["It works great and I love it.", "It broke after two days, a waste of money."]:
        print(review, "->", apply(review))
