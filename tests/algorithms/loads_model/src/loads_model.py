from pushpoint.runtime import model

CONTENT = None


def load():
    global CONTENT
    with open(model.path, "rb") as file:
        CONTENT = file.read()


def apply(input):
    return {"content": CONTENT.decode(), "manifest": model.manifest, "path": model.path}
