// A child process of overhead.mjs: a grpc-js stream that sends back what it gets. Says its port.
import { pathToFileURL } from 'node:url';
import { Server, ServerCredentials } from '@grpc/grpc-js';

export const ECHO_PATH = '/echo.Echo/Stream';

/** No protobuf at either end. */
export function same(bytes) {
  return bytes;
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const server = new Server({ 'grpc.enable_channelz': 0 });
  server.addService(
    {
      stream: {
        path: ECHO_PATH,
        requestStream: true,
        responseStream: true,
        requestSerialize: same,
        requestDeserialize: same,
        responseSerialize: same,
        responseDeserialize: same,
      },
    },
    {
      stream(call) {
        call.on('data', (message) => call.write(message));
        call.on('end', () => call.end());
      },
    },
  );
  server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) => {
    if (error) throw error;
    process.send(port);
  });
  process.on('disconnect', () => process.exit());
}
