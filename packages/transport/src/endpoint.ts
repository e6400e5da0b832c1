// What both ends of the HTTP endpoint know: docs/web.md has the table.

/** What every path of the endpoint starts with. */
export const ENDPOINT_PATH = '/raccoon/v1/';

/** Of what is said both ways but a bundle's files. */
export const PROTOBUF_TYPE = 'application/x-protobuf';
