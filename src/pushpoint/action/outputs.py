"""The Action's outputs: what the steps after it can use."""

from __future__ import annotations

import json

from pushpoint.action.summary import Page

OUTPUTS = {
    "status": "deployed, unchanged, superseded, built, previewed, planned or failed",
    "algorithm": "OWNER/NAME",
    "commit": "The commit of this repository",
    "deploy-id": "Names this deploy on the platform and in the manifest",
    "version": "The version that is live",
    "generation": "Counts what has been live on this algorithm",
    "model-uri": "Where the model is stored, data://...",
    "model-md5": "Its MD5, for the manifest's old readers",
    "model-sha256": "Its SHA-256",
    "endpoint": "The address that callers use",
    "notebook": "Path of the executed notebook",
    "seconds": "Seconds of each step, as a JSON object",
}
"""Name -> help."""


def outputs(page: Page) -> dict[str, str]:
    """List the outputs of a run.

    Returns:
        Name to value; what is not known is empty.
    """
    plan, deployment = page.plan, page.deployment if page.status in {"deployed", "unchanged"} else None
    release = deployment.release if deployment else None
    model = release.model if release else None
    found = dict.fromkeys(OUTPUTS, "") | {
        "status": page.status,
        "notebook": next((file for file in page.files if file.endswith(".ipynb")), ""),
        "seconds": json.dumps(page.seconds),
    }
    if plan:
        found |= {"algorithm": plan.algorithm, "commit": plan.source.commit}
    if plan and deployment and release:
        found |= {
            "deploy-id": deployment.deploy_id,
            "version": release.version,
            "generation": str(deployment.generation),
            "endpoint": plan.endpoint,
        }
    if model:
        found |= {"model-uri": model.uri, "model-md5": model.md5, "model-sha256": model.sha256}
    return found
