"""Descriptor + file -> uri. What is there already with the same bytes is not sent again."""

from __future__ import annotations

from pathlib import Path

from pushpoint.client import Client
from pushpoint.deploy.plan import Plan
from pushpoint.digests import Descriptor
from pushpoint.errors import ModelMissing
from pushpoint.names import DataPath, data_path, stored_model_name
from pushpoint.report import Report


def upload(plan: Plan, model: Descriptor, path: str, *, client: Client, report: Report) -> str:
    """Store the model under a name that can never mean other bytes.

    Returns:
        Its `data://` uri.
    """
    return store(place(plan, model, path), model, Path(path), client=client, report=report)


def store(target: DataPath, model: Descriptor, file: Path, *, client: Client, report: Report) -> str:
    """Store a file, in a collection that is made if it is new.

    Returns:
        Its uri.
    """
    client.create_collection(DataPath(target.owner, target.collection, ""))
    if client.link(target, model):
        report.line("the platform has these bytes; 0 bytes sent")
        return str(target)
    with report.progress("uploading", model.size) as progress:
        sent = client.put(target, file, model, progress=progress)
    there = model.size - sent
    went_on = f"; {there:,} were there from an attempt that was broken off" if there > 0 else ""
    report.line(f"{sent:,} bytes sent to {target}{went_on}")
    return str(target)


def place(plan: Plan, model: Descriptor, path: str) -> DataPath:
    """Say where a model goes.

    Returns:
        A place in the plan's collection.

    Raises:
        ModelMissing: The model is empty.
    """
    if model.size == 0:
        raise ModelMissing(plan.model_path, "is empty; save the model before the notebook ends")
    collection = data_path(plan.collection)
    return DataPath(collection.owner, collection.collection, stored_model_name(path, plan.source.commit, model.hex))
