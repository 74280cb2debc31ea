"""A client of the workbench's API, for programs in Python.

>>> with Client("http://127.0.0.1:8000") as client:  # doctest: +SKIP
...     answer = client.predict("chest.jpg")
...     print(answer.finding.decision, answer.id)
"""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Iterable
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pneumoscope._closing import Closing
from pneumoscope._extras import require_extra
from pneumoscope.errors import ImageError, OverloadedError, ServiceError
from pneumoscope.images import MAX_BYTES
from pneumoscope.runtime import Decision, Finding, Status, WarningCode, map_in_order

#: Seconds that an answer may take; a queue may stand before it.
TIMEOUT = 60.0
#: How often a service that has too much to do is asked again.
_TRIES = 6
_LONGEST_PAUSE = 30.0
#: Images that are asked for at once: enough for the service to make batches of.
_AT_ONCE = 8
#: What to do about an error that says this.
_ADVICE = (
    ("CERTIFICATE_VERIFY_FAILED", "; for a certificate of your own set SSL_CERT_FILE to its PEM"),
    ("WRONG_VERSION_NUMBER", "; it seems to speak plain HTTP: begin the address with http://"),
    ("record layer failure", "; it seems to speak plain HTTP: begin the address with http://"),
    ("disconnected without", "; if it speaks HTTPS, begin the address with https://"),
)


@dataclass(frozen=True)
class ServedFinding:
    """An answer, and where the service keeps it."""

    finding: Finding
    id: str
    study: str


class Client(Closing):
    """Asks a service for answers; one instance may serve many threads.

    Parameters
    ----------
    server
        Address of the service, such as https://pneumoscope.hospital.example.
    token
        Of `pneumoscope token create`; `PNEUMOSCOPE_TOKEN` by default.
    timeout
        Seconds for one answer.

    Raises
    ------
    MissingExtraError
        The extra `client` is not installed.
    ServiceError
        The address is none.
    """

    def __init__(self, server: str, *, token: str | None = None, timeout: float = TIMEOUT) -> None:
        require_extra("client", "httpx", purpose="A client of a service")
        import httpx

        self.server = server.rstrip("/")
        if not self.server.startswith(("http://", "https://")):
            raise ServiceError(f"A service's address begins with http:// or https://: {server}.")
        token = token or os.environ.get("PNEUMOSCOPE_TOKEN")
        if token and not (token.isascii() and token.isprintable()):
            raise ServiceError(
                "A token is one line of plain letters and digits, as `pneumoscope token create` "
                "prints it: PNEUMOSCOPE_TOKEN holds something else."
            )
        self._http = httpx.Client(
            base_url=f"{self.server}/api/v1",
            headers={"Authorization": f"Bearer {token}"} if token else {},
            timeout=timeout,
            follow_redirects=False,
        )

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def predict(
        self,
        image: str | os.PathLike[str] | bytes,
        *,
        name: str | None = None,
        patient: str | None = None,
        taken_on: date | None = None,
        again: bool = False,
    ) -> ServedFinding:
        """Return the service's answer to one image, once it is on the service's disk.

        Parameters
        ----------
        image
            A path, or the bytes of a file.
        name
            What to call the image; the file's name by default.
        patient, taken_on
            By which the service finds earlier studies of the same patient.
        again
            Make a study of its own, also where the image has one.

        Raises
        ------
        ImageError
            The image cannot be read, here or there.
        OverloadedError
            The service has too much to do, still after some tries.
        ServiceError
            It cannot be reached, or refuses.
        """
        data, label = _load(image, name)
        fields = {"patient": patient, "taken_on": taken_on.isoformat() if taken_on else None}
        form = {key: value for key, value in fields.items() if value}
        if again:
            form["again"] = "true"
        answer = self._ask("POST", "/predictions", data=form, files={"file": (label, data)})
        return ServedFinding(_read_finding(answer, label), answer["id"], answer["study"])

    def submit(
        self, images: Iterable[str | os.PathLike[str]], *, patient: str | None = None
    ) -> dict[str, Any]:
        """Send many images to be answered in their turn; return the job as the API has it."""
        files = [("files", (label, data)) for data, label in (_load(i, None) for i in images)]
        return self._ask("POST", "/jobs", data={"patient": patient} if patient else {}, files=files)

    def show(self, prediction_id: str) -> dict[str, Any]:
        """Return an answer that was given before, as the API has it."""
        return self._ask("GET", f"/predictions/{prediction_id}")

    def list_studies(self, **query: Any) -> dict[str, Any]:
        """Return a part of the worklist; the query is that of `GET /api/v1/studies`."""
        return self._ask("GET", "/studies", params=query)

    def show_model(self) -> dict[str, Any]:
        """Return what answers there: its operating points among the rest."""
        return self._ask("GET", "/model")

    # -- inside -------------------------------------------------------------------------------

    def _ask(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        import httpx

        for left in reversed(range(_TRIES)):
            try:
                response = self._http.request(method, path, **request)
            except httpx.HTTPError as error:
                advice = next((text for sign, text in _ADVICE if sign in str(error)), "")
                raise ServiceError(
                    f"{self.server} cannot be reached: {_first_line(error)}{advice}."
                ) from error
            if response.status_code not in {429, 503} or not left:
                break
            time.sleep(_read_pause(response.headers.get("retry-after")))
        return _open(response, self.server)


@dataclass(frozen=True)
class ServedBundle:
    """What is known of a model that runs elsewhere."""

    sha256: str


class RemotePredictor:
    """Answers images as a `Predictor` does, by asking a service.

    Raises
    ------
    ServiceError
        The service cannot be reached, or refuses.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        model = client.show_model()
        self.bundle = ServedBundle(str(model["bundle"]))
        self.precision = str(model["precision"])
        self.operating_point = str(model["operating_point"])
        self.threshold = float(model["threshold"])
        self.rule_out: float | None = model["rule_out"]
        self.rule_in: float | None = model["rule_in"]
        self.warnings = _read_warnings(model["warnings"])

    def predict_many(
        self, images: Iterable[str | bytes], *, jobs: int | None = None
    ) -> Generator[Finding, None, None]:
        """Answer images in order, as a stream; what cannot be read becomes a finding that says so.

        Parameters
        ----------
        jobs
            Images that are asked for at once.
        """
        return map_in_order(self._answer, images, jobs=jobs or _AT_ONCE, chunk=1)

    def _answer(self, images: Iterable[str | bytes]) -> list[Finding]:
        return [self._predict(image) for image in images]

    def _predict(self, image: str | bytes) -> Finding:
        name = image if isinstance(image, str) else "image"
        try:
            return replace(self._client.predict(image).finding, path=name)
        except ImageError as error:
            return Finding(
                path=name,
                status=Status.ERROR,
                message=str(error),
                operating_point=self.operating_point,
                threshold=self.threshold,
                rule_out=self.rule_out,
                rule_in=self.rule_in,
                precision=self.precision,
                bundle=self.bundle.sha256,
            )


def _open(response: Any, server: str) -> dict[str, Any]:
    try:
        body = response.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise ServiceError(
            f"{server} answered {response.status_code} with something else than JSON: is it a "
            "Pneumoscope service?"
        )
    if response.is_success:
        return body
    detail = str(body.get("detail") or response.reason_phrase)
    if response.status_code in {429, 503}:
        raise OverloadedError(f"{server}: {detail}")
    if "record" in body:
        raise ImageError(detail)
    if response.status_code == 401:
        raise ServiceError(
            f"{server} wants a token that it knows: set PNEUMOSCOPE_TOKEN to one of `pneumoscope "
            "token create`."
        )
    path = urlsplit(server).path
    if response.status_code == 404 and (path or "type" not in body):
        advice = f": leave out {path}" if path else ""
        raise ServiceError(f"{server} is not the address of a Pneumoscope service{advice}.")
    raise ServiceError(f"{server}: {detail}")


def _load(image: str | os.PathLike[str] | bytes, name: str | None) -> tuple[bytes, str]:
    if isinstance(image, bytes):
        return image, name or "image"
    path = Path(image)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ImageError(f"{path} has more than {MAX_BYTES >> 20} MiB, the most allowed.")
        return path.read_bytes(), name or path.name
    except OSError as error:
        raise ImageError(f"{path} cannot be read: {error.strerror or error}.") from error


def _read_finding(answer: dict[str, Any], path: str) -> Finding:
    """Return the record of an answer as a finding, called as it is called here."""
    decision = answer.get("decision")
    plain = (
        "sha256", "probability", "logit", "operating_point", "threshold", "rule_out", "rule_in",
        "message", "precision", "bundle",
    )  # fmt: skip
    facts: dict[str, Any] = {name: answer.get(name) for name in plain}
    return Finding(
        path=path,
        status=Status(answer["status"]),
        decision=Decision(decision) if decision else None,
        warnings=_read_warnings(answer.get("warnings", [])),
        **facts,
    )


def _read_warnings(codes: Iterable[str]) -> tuple[WarningCode, ...]:
    """Return the warnings that this version knows; a newer service may have others."""
    known = {code.value for code in WarningCode}
    return tuple(WarningCode(code) for code in codes if code in known)


def _read_pause(stated: str | None) -> float:
    try:
        return min(float(stated or 1), _LONGEST_PAUSE)
    except ValueError:
        return 1.0


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
