"""Lists as files."""

from __future__ import annotations

import strawberry

from domain.errors import Refused
from resolvers import export
from schema.export import RequestExportInput
from schema.info import Info
from schema.operation import OperationPayload
from schema.payload import user_errors
from schema.roots.shared import Payload


@strawberry.type
class ExportMutations:
    @strawberry.mutation(
        graphql_type=OperationPayload,
        description=(
            "Make a file of a list, however long it is. `OperationItem.export` says how far it has come; the file is "
            "`OperationItem.document` when the item is VERIFIED."
        ),
    )
    async def request_export(self, info: Info, input: RequestExportInput) -> Payload:
        context = info.context
        try:
            asked = input.to_domain()
        except Refused as problem:
            return Payload(None, user_errors([problem], ("input",)))
        context.caller.needs(export.scopes_for(asked.wanted.list))
        kept = await export.request(context.shelf, context.caller.name, context.request_id, asked)
        return Payload(kept.operation, user_errors(kept.problems, ("input",)))
