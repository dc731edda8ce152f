"""The store of documents: files behind signed addresses, outside the API. It answers in XML, as S3 does."""

import gzip
import uuid
from dataclasses import dataclass, replace
from urllib.parse import quote

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response

from sandbox.amazon.query import seal, unseal
from sandbox.clock import Clock

DOWNLOAD = "download"
UPLOAD = "upload"
PREFIX = "/_documents/"
LIFE_S = 300
_SPACE = uuid.UUID("6f5902ac-2376-4a1c-9fd3-0a4de3a3a6c1")


@dataclass(frozen=True, slots=True)
class Stored:
    """A file. `content` is None as long as it has not been uploaded; `gzipped` is how it lies in the store."""

    content_type: str
    content: bytes | None
    gzipped: bool = False

    @property
    def text(self) -> bytes:
        """What is in it, unpacked."""
        content = self.content or b""
        return gzip.decompress(content) if self.gzipped else content


class Documents:
    """All files of a sandbox, by document id. `base` is where the sandbox was asked last: addresses are told with it."""

    def __init__(self, clock: Clock) -> None:
        self.base = "http://sandbox"
        self._clock = clock
        self._files: dict[str, Stored] = {}

    def put(self, content: bytes, content_type: str, *, gzip: bool = False) -> str:
        """Keep a file; its document id."""
        return self._keep(Stored(content_type, _packed(content) if gzip else content, gzip))

    def slot(self, content_type: str) -> str:
        """A place for a file that is to be uploaded with just this content type; its document id."""
        return self._keep(Stored(content_type, None))

    def stored(self, document_id: str) -> Stored | None:
        return self._files.get(document_id)

    def address(self, document_id: str, *, encoded: bool = False) -> str:
        """Where the file is read, or written when it is a slot; for 300 s from now. `encoded`: the answer says itself, by its
        Content-Encoding, that the file is packed."""
        verb = "GET" if self._files[document_id].content is not None else "PUT"
        until = self._clock.seconds() + LIFE_S
        signature = quote(seal({"to": verb, "of": document_id, "until": until, "encoded": encoded}), safe="")
        return f"{self.base}{PREFIX}{document_id}?X-Amz-Expires={LIFE_S}&X-Amz-Signature={signature}"

    def answer(self, request: Request, body: bytes) -> Response:
        """What the store says to a request."""
        document_id = request.url.path.removeprefix(PREFIX)
        stored = self._files.get(document_id)
        signed = unseal(request.query_params.get("X-Amz-Signature", ""))
        if stored is None or signed is None or (signed.get("to"), signed.get("of")) != (request.method, document_id):
            return _refused(
                "SignatureDoesNotMatch", "The request signature we calculated does not match the signature."
            )
        if self._clock.seconds() >= signed["until"]:
            return _refused("AccessDenied", "Request has expired")
        if foreign := _unsigned(request.headers):
            words = f"There were headers present in the request which were not signed: {', '.join(foreign)}"
            return _refused("AccessDenied", words)
        if request.method == "GET":
            packed = {"content-encoding": "gzip"} if stored.gzipped and signed["encoded"] else {}
            return Response(stored.content, headers={"content-type": stored.content_type, **packed})
        if request.headers.get("content-type") != stored.content_type:
            return _refused("SignatureDoesNotMatch", "The content type is not the one that was signed.")
        self._files[document_id] = replace(stored, content=body)
        return Response()

    def _keep(self, stored: Stored) -> str:
        document_id = f"amzn1.spdoc.1.4.{uuid.uuid5(_SPACE, str(len(self._files)))}"
        self._files[document_id] = stored
        return document_id


def named(method: str) -> str:
    """What the journal and the faults call a request of the store."""
    return UPLOAD if method == "PUT" else DOWNLOAD


def _packed(content: bytes) -> bytes:
    return gzip.compress(content, compresslevel=6, mtime=0)


def _unsigned(headers: Headers) -> list[str]:
    return sorted(name for name in headers if name.startswith("x-amz-") or name == "authorization")


def _refused(code: str, words: str) -> Response:
    request_id = uuid.uuid4().hex[:16].upper()
    text = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>{code}</Code><Message>{words}</Message><RequestId>{request_id}</RequestId></Error>"
    )
    return Response(text, 403, media_type="application/xml")
