// What a Node team would write: token verified (and cached), calls counted, proxied. `cache` as @fastify/jwt's fast-jwt has it.
const fastify = require("fastify");
const Redis = require("ioredis");

const { port, upstream, publicKey, issuer, audience, redis } = JSON.parse(process.argv[2]);
const app = fastify({ logger: false });

app.register(require("@fastify/jwt"), {
  secret: { public: publicKey },
  verify: { algorithms: ["EdDSA"], allowedIss: issuer, allowedAud: audience, cache: 1000 },
});
app.register(require("@fastify/rate-limit"), {
  global: true,
  hook: "preHandler",
  max: 100000000,
  timeWindow: "1 minute",
  keyGenerator: (request) => request.user.client_id,
  ...(redis ? { redis: new Redis(redis) } : {}),
});
app.register(require("@fastify/http-proxy"), {
  upstream,
  prefix: "/sales/v1/orders",
  rewritePrefix: "/order.json",
  preValidation: async (request) => {
    await request.jwtVerify();
  },
});
app.listen({ port, host: "127.0.0.1" });
