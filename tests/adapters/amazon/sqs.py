"""A queue at a local SQS, by plain calls without signatures."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self
from uuid import uuid4

import httpx

REGION = "us-east-1"
SIGNED = f"AWS4-HMAC-SHA256 Credential=key/20260101/{REGION}/sqs/aws4_request, SignedHeaders=host, Signature=0"


@dataclass(slots=True)
class Sqs:
    """One queue."""

    client: httpx.AsyncClient
    endpoint: str
    url: str = ""

    @classmethod
    async def make(cls, client: httpx.AsyncClient, endpoint: str) -> Self:
        made = cls(client, endpoint)
        made.url = (await made._call("CreateQueue", QueueName=f"acorn-{uuid4().hex[:8]}"))["QueueUrl"]
        return made

    @property
    def arn(self) -> str:
        account, name = self.url.split("/")[-2:]
        return f"arn:aws:sqs:{REGION}:{account}:{name}"

    async def send(self, *bodies: str) -> None:
        for start in range(0, len(bodies), 10):
            entries = [{"Id": str(i), "MessageBody": body} for i, body in enumerate(bodies[start : start + 10])]
            await self._call("SendMessageBatch", QueueUrl=self.url, Entries=entries)

    async def size(self) -> int:
        """Messages there are, hidden ones among them."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = await self._call("GetQueueAttributes", QueueUrl=self.url, AttributeNames=names)
        return sum(int(count) for count in found["Attributes"].values())

    async def show_again(self, receipts: Iterable[str]) -> None:
        for receipt in receipts:
            await self._call("ChangeMessageVisibility", QueueUrl=self.url, ReceiptHandle=receipt, VisibilityTimeout=0)

    async def _call(self, action: str, **body: Any) -> dict[str, Any]:
        headers = {
            "content-type": "application/x-amz-json-1.0",
            "x-amz-target": f"AmazonSQS.{action}",
            "authorization": SIGNED,
        }
        answer = await self.client.post("/", content=json.dumps(body), headers=headers)
        answer.raise_for_status()
        told: dict[str, Any] = answer.json() if answer.content else {}
        return told
