import type { Server, ServerDuplexStream } from '@grpc/grpc-js';
import { fromJSON } from '@grpc/proto-loader';
import { ReflectionService } from '@grpc/reflection';
import { TransportError } from '../errors.ts';
import { descriptor } from '../generated/descriptor.ts';
import type { Gate } from './gate.ts';
import { toStatus } from './status.ts';

type Stream = ServerDuplexStream<unknown, unknown>;

/** Adds grpc.reflection.v1 and v1alpha: for those who may call what they learn about. */
export function addReflection(
  server: Server,
  gate: Gate,
  { openInference }: { openInference: boolean },
): void {
  const { inference, ...own } = descriptor.nested ?? {};
  const nested = openInference && inference ? { ...own, inference } : own;
  const ours = fromJSON(withMapEntries(withProtoNames({ nested })));
  const reflection = new ReflectionService({ ...ours, ...fromJSON(health) });
  reflection.addToServer({
    addService(definition, { ServerReflectionInfo: reflect }) {
      server.addService(definition, {
        ServerReflectionInfo(call: Stream) {
          try {
            gate.admit(call);
          } catch (cause) {
            call.emit('error', toStatus(TransportError.from(cause)));
            return;
          }
          boundWrites(call);
          if (typeof reflect === 'function') Reflect.apply(reflect, undefined, [call]);
        },
      });
    },
  });
}

const oneStatus = { status: { type: 'ServingStatus', id: 1 } };
const check = { requestType: 'HealthCheckRequest', responseType: 'HealthCheckResponse', comment: '' };
/**
 * grpc.health.v1. Not read from its .proto file, because protobufjs gives the entry of a map (`statuses`) a name that
 * other languages refuse. Written out, the entry is the same bytes.
 */
const health: Parameters<typeof fromJSON>[0] = {
  nested: {
    'grpc.health.v1': {
      nested: {
        HealthCheckRequest: { fields: { service: { type: 'string', id: 1 } } },
        HealthCheckResponse: {
          fields: oneStatus,
          nested: {
            ServingStatus: { values: { UNKNOWN: 0, SERVING: 1, NOT_SERVING: 2, SERVICE_UNKNOWN: 3 } },
          },
        },
        HealthListRequest: { fields: {} },
        HealthListResponse: {
          fields: { statuses: { rule: 'repeated', type: 'StatusesEntry', id: 1 } },
          nested: {
            StatusesEntry: {
              fields: { key: { type: 'string', id: 1 }, value: { type: 'HealthCheckResponse', id: 2 } },
            },
          },
        },
        Health: {
          methods: {
            Check: check,
            List: { requestType: 'HealthListRequest', responseType: 'HealthListResponse', comment: '' },
            Watch: { ...check, responseStream: true },
          },
        },
      },
    },
  },
};

const snake = (name: string): string => name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

/** The descriptor with its fields named as in the .proto file: `timeout_ms` where our code says `timeoutMs`. */
function withProtoNames<T>(json: T): T {
  // Every object below `fields` is a field; a oneof lists names of fields.
  const text = JSON.stringify(json, (key: string, value: unknown): unknown => {
    if (key === 'fields' && typeof value === 'object' && value !== null) {
      return Object.fromEntries(
        Object.entries(value).map(([name, field]) => [snake(name), field as unknown]),
      );
    }
    return key === 'oneof' && Array.isArray(value) ? value.map(String).map(snake) : value;
  });
  // the same shape as `json`
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  return JSON.parse(text) as T;
}

/**
 * The descriptor with a message in place of each map, marked as the entry of one: that is what a map is on the wire, and
 * protobufjs gives its entry a name that other languages refuse.
 */
function withMapEntries<T>(json: T): T {
  const text = JSON.stringify(json, (_, value: unknown): unknown => {
    if (!hasFields(value)) return value;
    const nested: Record<string, unknown> = { ...value.nested };
    const fields = Object.entries(value.fields).map(([name, field]) => {
      const { keyType, type, id } = field;
      if (keyType === undefined) return [name, field];
      const entry = `${name.replaceAll(/(?:^|_)([a-z])/g, (__, letter: string) => letter.toUpperCase())}Entry`;
      nested[entry] = {
        options: { map_entry: true },
        fields: { key: { type: keyType, id: 1 }, value: { type, id: 2 } },
      };
      return [name, { rule: 'repeated', type: entry, id }];
    });
    return {
      ...value,
      fields: Object.fromEntries(fields),
      ...(Object.keys(nested).length > 0 && { nested }),
    };
  });
  // the same shape as `json`
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  return JSON.parse(text) as T;
}

interface MessageJson {
  readonly fields: Readonly<Record<string, { type: string; id: number; keyType?: string }>>;
  readonly nested?: Readonly<Record<string, unknown>>;
}

function hasFields(value: unknown): value is MessageJson {
  return typeof value === 'object' && value !== null && 'fields' in value;
}

/** The library answers whatever it reads. Who does not read the answers is read no further. */
function boundWrites(call: Stream): void {
  const write = call.write.bind(call);
  call.write = (message: unknown) => {
    const more = write(message);
    if (!more) {
      call.pause();
      call.once('drain', () => call.resume());
    }
    return more;
  };
}
