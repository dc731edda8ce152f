"""The SQS queue that Amazon sends notifications to. Needs the extra `sqs`; imported only where a queue is set up.

A message that was received stays hidden for two minutes. It is deleted when what it says is durable, and not before: whoever dies
in between receives it again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.exceptions import BotoCoreError, ClientError

from adapters.amazon.hints import Account, understood
from adapters.notices import Delivered, Mailbox, Message
from domain.errors import HouseError, Transient, Unauthorized
from domain.ids import ChannelId

# What SQS gives at most at a time, and how long it waits at most for the first.
BATCH = 10
WAIT_S = 20
HIDDEN_S = 120
# AWS tells wrong, missing and powerless credentials apart; none of them mends itself.
SHUT = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "ExpiredToken",
        "InvalidClientTokenId",
        "KMS.AccessDeniedException",
        "KmsAccessDenied",
        "MissingAuthenticationToken",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
        "AWS.SimpleQueueService.NonExistentQueue",
        "QueueDoesNotExist",
    }
)


@dataclass(frozen=True, slots=True)
class QueueConfig:
    """One queue. Without keys of its own it is opened with what AWS' usual chain finds: environment, files, the role here."""

    url: str
    region: str
    endpoint: str | None = None
    access_key_id: str | None = None
    secret_access_key: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class QueueSource:
    """Satisfies `adapters.notices.Source`: a queue that the `accounts` share. `wait_s` is how long one look waits."""

    config: QueueConfig
    accounts: tuple[Account, ...]
    wait_s: int = WAIT_S

    @property
    def channels(self) -> tuple[ChannelId, ...]:
        """Those of its accounts."""
        return tuple(one.channel for one in self.accounts)

    def understood(self, raw: bytes) -> Delivered | None:
        """See `adapters.amazon.hints`."""
        return understood(self.accounts, raw)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Mailbox]:
        """The queue, with connections of its own."""
        config = self.config
        async with get_session().create_client(
            "sqs",
            region_name=config.region,
            endpoint_url=config.endpoint,
            aws_access_key_id=config.access_key_id,
            aws_secret_access_key=config.secret_access_key,
            # Our own loop tries again, with the pauses that it knows of.
            config=AioConfig(connect_timeout=5, read_timeout=self.wait_s + 10, retries={"max_attempts": 0}),
        ) as client:
            yield SqsMailbox(client, config.url, self.wait_s)


@dataclass(slots=True)
class SqsMailbox:
    """Satisfies `adapters.notices.Mailbox`."""

    client: Any
    url: str
    wait_s: int

    async def receive(self) -> Sequence[Message]:
        """At most ten messages; none after `wait_s` seconds without. Raises Transient and Unauthorized."""
        try:
            answer = await self.client.receive_message(
                QueueUrl=self.url,
                MaxNumberOfMessages=BATCH,
                WaitTimeSeconds=self.wait_s,
                VisibilityTimeout=HIDDEN_S,
            )
        except (BotoCoreError, ClientError, OSError) as problem:
            raise _failure(problem) from problem
        return [
            Message(one["ReceiptHandle"], one["Body"].encode("utf-8", "surrogatepass"))
            for one in answer.get("Messages", [])
        ]

    async def delete(self, messages: Sequence[Message]) -> None:
        """At most ten. Raises Transient and Unauthorized."""
        entries = [{"Id": str(number), "ReceiptHandle": one.receipt} for number, one in enumerate(messages)]
        try:
            answer = await self.client.delete_message_batch(QueueUrl=self.url, Entries=entries)
        except (BotoCoreError, ClientError, OSError) as problem:
            raise _failure(problem) from problem
        if failed := answer.get("Failed"):
            raise Transient(f"SQS kept {len(failed)} messages that were to be deleted ({failed[0].get('Code')}).")


def _failure(problem: Exception) -> HouseError:
    """AWS' failure in our tree; its own words stay out, they may hold keys."""
    if isinstance(problem, ClientError):
        code = str(problem.response.get("Error", {}).get("Code", ""))
        if code in SHUT:
            return Unauthorized(
                "SQS refuses us the queue. Check its address, its policy and the AWS credentials of this process.",
                upstream_code=code,
            )
        return Transient("SQS does not answer as it should.", upstream_code=code or None)
    if "Credentials" in type(problem).__name__:
        return Unauthorized("There are no AWS credentials for the queue.", upstream_code=type(problem).__name__)
    return Transient(f"SQS is not to be had just now ({type(problem).__name__}).")
