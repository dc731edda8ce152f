"""Reports that channels are asked for."""

from __future__ import annotations

import strawberry

from domain.errors import Refused
from resolvers import report
from schema.info import Info
from schema.operation import OperationPayload
from schema.payload import user_errors
from schema.report import RequestReportInput
from schema.roots.shared import Payload


@strawberry.type
class ReportMutations:
    @strawberry.mutation(
        graphql_type=OperationPayload,
        description=(
            "Have a channel make a report, once whatever happens. Its file is `OperationItem.document` when the item is VERIFIED."
        ),
    )
    async def request_report(self, info: Info, input: RequestReportInput) -> Payload:
        context = info.context
        try:
            wanted = input.to_domain()
        except Refused as problem:
            return Payload(None, user_errors([problem], ("input",)))
        kept = await report.request(
            context.shelf, context.caller.name, context.request_id, wanted, idempotency_key=input.idempotency_key
        )
        return Payload(kept.operation, user_errors(kept.problems, ("input",)))
