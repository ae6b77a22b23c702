"""The GitHub Action: inputs and event in, the same deploy as the CLI's, then outputs, annotations and a summary.

`python -m pushpoint.action` is what `action.yml` runs. Nothing here trains, uploads or pushes by itself.
"""
