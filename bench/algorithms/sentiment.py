"""The model of `examples/sentiment`, for single calls and for many that came together; whoever serves it."""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # a platform may have set another number; here everybody has one

import joblib

from pushpoint.runtime import model

pipeline = None


def load():
    """Load the model, before the first call."""
    global pipeline
    pipeline = joblib.load(model.path)


def apply(input):
    """Answer one call."""
    return apply_batch([input])[0]


def apply_batch(inputs):
    """Answer calls that came together, by one prediction."""
    return [answer(float(probability)) for probability in pipeline.predict_proba(inputs)[:, 1]]


def answer(probability):
    """Turn the probability of "positive" into an answer."""
    positive = probability >= 0.5
    sentiment = "positive" if positive else "negative"
    return {"sentiment": sentiment, "score": round(probability if positive else 1 - probability, 4)}
