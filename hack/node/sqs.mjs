// Starts fauxqs, an SQS and SNS server for tests, at 127.0.0.1. What its own program does otherwise: it listens at all
// interfaces, and it names queues http://sqs.REGION.localhost:PORT/..., which not every resolver finds, and knows them by
// exactly that URL. Without a host, it names them as the request did: http://127.0.0.1:PORT/000000000000/QUEUE.
import { buildApp } from "fauxqs";
import { SqsStore } from "./node_modules/fauxqs/dist/sqs/sqsStore.js";

const port = Number(process.argv[2]);
if (!Number.isInteger(port) || port < 1 || port > 65535) {
  console.error("usage: node sqs.mjs PORT");
  process.exit(2);
}
const sqsStore = new SqsStore();
sqsStore.host = undefined;
const app = buildApp({ logger: false, stores: { sqsStore } });
await app.listen({ port, host: "127.0.0.1" });
console.log(`ready at 127.0.0.1:${port}`);
for (const signal of ["SIGINT", "SIGTERM"]) {
  process.once(signal, () => app.close());
}
