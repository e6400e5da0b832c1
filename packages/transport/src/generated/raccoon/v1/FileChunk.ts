// Original file: raccoon/v1/raccoon.proto


export interface FileChunkInput {
  'data'?: (Buffer | Uint8Array | string);
}

export interface FileChunkOutput {
  'data': (Buffer);
}
