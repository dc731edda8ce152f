// Composes graphs: `node compose.mjs <composer>` reads {graph: {subgraph: its SDL}} and writes {graph: {"errors", "schema"}}, the
// schema as clients of a router see it.
import { readFileSync } from 'node:fs';
import { composeServices as apollo } from '@apollo/composition';
import { composeServices as guild } from '@theguild/federation-composition';
import { federateSubgraphs as wundergraph } from '@wundergraph/composition';
import { parse, printSchema } from 'graphql';

const told = (errors) => (errors ?? []).map((error) => error.message);

const composers = {
  apollo(subgraphs) {
    const { errors, schema } = apollo(subgraphs.map(({ name, sdl }) => ({ name, url: '', typeDefs: parse(sdl) })));
    return { errors: told(errors), schema: schema && printSchema(schema.toAPISchema().toGraphQLJSSchema()) };
  },
  guild(subgraphs) {
    const { errors, publicSdl } = guild(subgraphs.map(({ name, sdl }) => ({ name, typeDefs: parse(sdl) })));
    return { errors: told(errors), schema: publicSdl };
  },
  wundergraph(subgraphs) {
    const { errors, federatedGraphClientSchema: schema } = wundergraph({
      subgraphs: subgraphs.map(({ name, sdl }) => ({ name, url: '', definitions: parse(sdl) })),
      version: '1',
    });
    return { errors: told(errors), schema: schema && printSchema(schema) };
  },
};

const graphs = Object.entries(JSON.parse(readFileSync(0, 'utf-8')));
const composed = graphs.map(([graph, subgraphs]) => [
  graph,
  composers[process.argv[2]](Object.entries(subgraphs).map(([name, sdl]) => ({ name, sdl }))),
]);
process.stdout.write(JSON.stringify(Object.fromEntries(composed)));
