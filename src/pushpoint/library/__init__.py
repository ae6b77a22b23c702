"""`pushpoint.Client`: the platform for a notebook, a script or a Python prompt.

What happens is done by the same functions as in a deploy (`deploy.upload`, `deploy.push`, `deploy.release`), over the
same wire client; here they get short names, a progress that suits the place, and results that show themselves.
"""

from pushpoint.library.algorithms import Algorithm, Build
from pushpoint.library.client import Client
from pushpoint.library.results import Answer, Model, Release, Releases

__all__ = ["Algorithm", "Answer", "Build", "Client", "Model", "Release", "Releases"]
