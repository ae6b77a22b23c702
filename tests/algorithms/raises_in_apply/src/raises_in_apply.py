class Complaint(Exception):
    def __init__(self, message, error_type):
        super().__init__(message)
        self.error_type = error_type


class Mute(Exception):
    def __str__(self):
        raise RuntimeError("no words")


def deeper(input):
    if input == "mute":
        raise Mute
    raise Complaint("no: {}".format(input["message"]), input["error_type"])


def apply(input):
    deeper(input)
