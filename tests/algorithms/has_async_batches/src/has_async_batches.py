"""Has batches that cannot be."""


async def apply_batch(inputs):
    return inputs
