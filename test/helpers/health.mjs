// grpc.health.v1's Check, written out: what a probe sends is nothing but bytes.
import { Client, credentials } from '@grpc/grpc-js';
import { field } from './protobuf.mjs';

const PATH = '/grpc.health.v1.Health/Check';
const STATUS = ['UNKNOWN', 'SERVING', 'NOT_SERVING', 'SERVICE_UNKNOWN'];

/** Asks over one connection. */
export class HealthProbe {
  #client;

  constructor(address) {
    this.#client = new Client(address, credentials.createInsecure(), { 'grpc.use_local_subchannel_pool': 1 });
  }

  /** Of a service; '' is all of them. Rejects with gRPC's status. */
  check(service = '') {
    return new Promise((resolve, reject) => {
      this.#client.makeUnaryRequest(
        PATH,
        (name) => (name === '' ? Buffer.alloc(0) : field(1, name)),
        // HealthCheckResponse { status = 1 }
        (bytes) => ({ status: STATUS[bytes[1] ?? 0] }),
        service,
        { deadline: Date.now() + 10_000 },
        (error, response) => (error ? reject(error) : resolve(response.status)),
      );
    });
  }

  close() {
    this.#client.close();
  }
}

/** One check on a connection of its own. */
export async function checkHealth(address, service = '') {
  const probe = new HealthProbe(address);
  try {
    return await probe.check(service);
  } finally {
    probe.close();
  }
}
