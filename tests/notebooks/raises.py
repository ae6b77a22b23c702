print("begun")
raise LookupError("no data")
