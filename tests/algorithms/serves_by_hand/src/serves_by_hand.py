"""Speaks the pipe protocol by itself, well or badly."""

import json
import os
import sys


def answer(line):
    with open("/tmp/algoout", "w") as answers:
        answers.write(line + "\n")


print("PIPE_INIT_COMPLETE")
for line in sys.stdin:
    request = json.loads(line)
    word = request["data"]
    if word == "raw":
        answer(json.dumps({"result": line, "metadata": {"content_type": "text"}}))
    elif word in ("twice", "twice at once"):
        texts = [json.dumps({"result": text, "metadata": {"content_type": "text"}}) for text in ("first", "second")]
        for text in texts if word == "twice" else ["\n".join(texts)]:
            answer(text)
    elif word == "json string":
        answer(json.dumps({"result": "x", "metadata": {"content_type": "json"}}))
    elif word == "old form":
        answer(json.dumps({"message": "no", "stacktrace": "here", "error_type": "InputError"}))
    elif word == "large":
        answer(json.dumps({"result": "x" * (97 << 20), "metadata": {"content_type": "text"}}))
    elif word == "removed":
        os.unlink("/tmp/algoout")
        os._exit(0)
    elif word == "nothing at all":
        continue
    elif word == "enough":
        break
    elif word == "crash":
        raise ValueError("the runner has a bug")
    elif isinstance(word, list):
        answer(word[0])
    else:
        answer(json.dumps({"result": word, "metadata": {"content_type": request["content_type"]}}))
