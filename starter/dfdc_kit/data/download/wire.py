"""How bytes travel: sessions that fetch without credentials, or with the cookies of a browser."""

import threading
from dataclasses import replace
from http.cookiejar import CookieJar
from typing import TYPE_CHECKING

from dfdc_kit import __version__
from dfdc_kit.data.download.fetch import Watcher, Wire
from dfdc_kit.errors import KaggleFault
from dfdc_kit.kaggle_client.patience import Patience

if TYPE_CHECKING:
    import requests

FAILURES = 12  # in a row and without a byte between them: some six minutes


def new_wire(watcher: Watcher, patience: Patience, timeout_s: float, stop: threading.Event) -> Wire:
    """What the transfers of one command share; they bear more failures than a call, as nights have bad minutes."""
    patient = replace(patience, failures=FAILURES)
    return Wire(session=new_session, watcher=watcher, patience=patient, timeout_s=timeout_s, stop=stop)


def new_session(cookies: CookieJar | None = None) -> "requests.Session":
    """A session of its own. It asks for bytes as they are: packed ones could not be resumed."""
    try:
        import requests
    except ImportError as error:
        hint = 'pip install "dfdc-starter-kit[kaggle]"'
        raise KaggleFault(f"The package {error.name} is missing.", hint=hint, reason="package") from None
    session = requests.Session()
    session.headers.update({"Accept-Encoding": "identity", "User-Agent": f"dfdc-starter-kit/{__version__}"})
    session.auth = _no_auth  # else a ~/.netrc would send a password to the storage
    if cookies is not None:
        session.cookies = cookies  # type: ignore[assignment]
    return session


def _no_auth(request: "requests.PreparedRequest") -> "requests.PreparedRequest":
    return request
