"""Whatever has an id, for clients and for routers."""

from __future__ import annotations

import strawberry
from strawberry.federation.schema import FederationAny

from resolvers import node
from schema.federation import Entity, Service, entities
from schema.info import Info
from schema.node import Node
from schema.printed import sdl
from schema.roots.shared import key_or_none
from schema.scopes import NODE_SCOPES


@strawberry.type
class AnythingQueries:
    @strawberry.field(graphql_type=Node | None, description="Anything by its global id; null when there is none.")
    async def node(self, info: Info, id: strawberry.ID) -> node.Thing | None:
        kind = id.partition(":")[0]
        key = key_or_none(kind, id)
        if key is None or kind not in NODE_SCOPES:
            return None
        info.context.caller.needs(NODE_SCOPES[kind])
        return await node.by_id(info.context, kind, key)

    @strawberry.field(
        name="_entities",
        graphql_type=list[Entity | None],
        description="For routers: entities by their keys, in the order asked; at most 250, null for an unknown one.",
    )
    async def entities(self, info: Info, representations: list[FederationAny]) -> list[object]:
        return await entities(info.context, representations)

    @strawberry.field(name="_service", description="For routers: this schema, as they compose it with others.")
    def service(self, info: Info) -> Service:
        return Service(sdl=sdl(info.schema))
