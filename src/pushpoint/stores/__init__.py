"""Where blobs are kept. A key never changes its bytes."""
