"""Calls the platform with the official client, as algorithms did on the old one."""

import Algorithmia


def apply(input):
    client = Algorithmia.client()
    return client.algo("owner/other").pipe(input).result
