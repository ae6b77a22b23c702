raise RuntimeError("the import went wrong")
