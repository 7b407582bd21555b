// Starts fauxqs, an SQS and SNS server for tests, at 127.0.0.1. Its own program listens at all interfaces and has no
// option for another address; the application behind it can be bound to any.
import { buildApp } from "fauxqs";

const port = Number(process.argv[2]);
if (!Number.isInteger(port) || port < 1 || port > 65535) {
  console.error("usage: node sqs.mjs PORT");
  process.exit(2);
}
const app = buildApp({ logger: false });
await app.listen({ port, host: "127.0.0.1" });
console.log(`ready at 127.0.0.1:${port}`);
for (const signal of ["SIGINT", "SIGTERM"]) {
  process.once(signal, () => app.close());
}
