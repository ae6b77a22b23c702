"""Programs that show how fast Pushpoint is, beside something everybody knows, in the same run."""
