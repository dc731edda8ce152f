// The schema of benchmarks/plain.py on Mercurius with its JIT, on the same data: node mercurius.js <data.json>; it prints its port.
const { readFileSync } = require("node:fs");
const fastify = require("fastify")();

const told = JSON.parse(readFileSync(process.argv[2], "utf8"));

const schema = `
  scalar DateTime
  enum Freshness { LIVE FRESH STALE UNKNOWN }
  type Location { code: String! name: String! }
  type StockLevel { location: Location! onHand: Int! reserved: Int! availableToSell: Int! freshness: Freshness! }
  type StockTerm { label: String! quantity: Int! }
  type Stock {
    sku: String! availableToSell: Int! onHand: Int! reserved: Int! asOf: DateTime freshness: Freshness!
    levels: [StockLevel!]! explanation: [StockTerm!]!
  }
  type Listing { channelSku: String! marketplace: String externalId: String! status: String! }
  type Product { sku: String! title: String! stock: Stock! listings: [Listing!]! }
  type ProductConnection { nodes: [Product!]! }
  input ProductFilter { skus: [String!]! }
  type Query {
    stock(skus: [String!]!, maxAge: String): [Stock]!
    products(filter: ProductFilter!, first: Int = 50): ProductConnection!
  }`;

const resolvers = {
  Query: {
    stock: (_, { skus }) => skus.map((sku) => told.stock[sku] ?? null),
    products: (_, { filter, first }) => ({
      nodes: [...filter.skus].sort().slice(0, first).map((sku) => told.products[sku]),
    }),
  },
};

fastify.register(require("mercurius"), { schema, resolvers, jit: 1 });
fastify.listen({ port: 0, host: "127.0.0.1" }).then(() => console.log(fastify.server.address().port));
