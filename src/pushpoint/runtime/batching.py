"""Micro-batches: an algorithm that has `apply_batch(inputs)` gets the calls that are waiting all at once.

A lone call is never delayed, and by default no other one: what came while the last batch was answered is the next. An
algorithm may say how long a batch is to wait, by `max_batch_delay`: then it waits, while calls come faster than one by
one, for as many as the last one had. What one input does to its batch is undone by halving: the inputs of a
batch that raised are tried again in smaller ones, until each that fails has failed alone.

Source: the dynamic batching of Triton and TorchServe, whose timers also delay a lone call.
"""

from __future__ import annotations

import inspect
import types
from typing import Any, Callable, List, Optional

from pushpoint.runtime import frames

SIZE, DELAY = 64, 0.0
"""The most inputs of a batch, and the seconds that it may wait, where the algorithm's module does not say."""


class Batching:
    """The batches of one algorithm.

    Attributes:
        size: The module's `max_batch_size`.
        delay: The module's `max_batch_delay`, in seconds.
    """

    def __init__(self, apply: Callable[[List[Any]], Any], size: int, delay: float) -> None:
        self._apply = apply
        self.size, self.delay = size, delay

    @classmethod
    def of(cls, module: types.ModuleType) -> Optional[Batching]:
        """Read how a module wants its batches.

        Returns:
            That, or none for a module without `apply_batch`.

        Raises:
            ValueError: Its limits are not such.
            TypeError: It cannot be called as it must be.
        """
        apply = getattr(module, "apply_batch", None)
        if not callable(apply):
            return None
        check(apply, "apply_batch", "the list of inputs")
        if inspect.iscoroutinefunction(apply) or inspect.isasyncgenfunction(apply):
            raise TypeError("apply_batch is asynchronous; make it `def`, or leave it out and make `apply` `async def`")
        delay = getattr(module, "max_batch_delay", DELAY)
        if not isinstance(delay, (int, float)) or not 0 <= delay <= 1:
            raise ValueError("max_batch_delay is {!r}; use seconds, from 0 to 1".format(delay))
        return cls(apply, limit(module, "max_batch_size", SIZE), float(delay))

    def run(self, inputs: List[Any]) -> List[Any]:
        """Apply the algorithm to all inputs.

        Returns:
            For each input its output, or the exception that it failed with.
        """
        try:
            outputs = list(self._apply(inputs))
        except BaseException as raised:
            error = raised
        else:
            if len(outputs) == len(inputs):
                return outputs
            text = "apply_batch returned {} outputs for {} inputs; return one for each, in their order"
            error = ValueError(text.format(len(outputs), len(inputs)))
        if len(inputs) == 1:
            return [error]
        half = len(inputs) // 2
        return self.run(inputs[:half]) + self.run(inputs[half:])


def check(function: Callable[..., Any], name: str, what: str) -> None:
    """Check that a function can be called with one argument, before anybody calls it.

    Args:
        function: It.
        name: What the algorithm calls it.
        what: The argument.

    Raises:
        TypeError: It cannot.
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # what is not written in Python need not say
        return
    try:
        signature.bind(None)
    except TypeError as error:
        text = "{}({}) is called with {} alone, and would fail: {}; let it take one argument"
        raise TypeError(text.format(name, ", ".join(signature.parameters), what, error)) from None


def limit(module: types.ModuleType, name: str, default: int) -> int:
    """Read a number of calls from an algorithm's module.

    Returns:
        It, or the default.

    Raises:
        ValueError: It is no such number.
    """
    value = getattr(module, name, default)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= frames.MOST_AT_ONCE:
        raise ValueError("{} is {!r}; use a number from 1 to {}".format(name, value, frames.MOST_AT_ONCE))
    return value
