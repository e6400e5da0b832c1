// Original file: raccoon/v1/raccoon.proto


export interface HelloInput {
  'protocolMin'?: (number);
  'protocolMax'?: (number);
  'codecIds'?: (Buffer | Uint8Array | string)[];
  'client'?: (string);
  'loadIntervalMs'?: (number);
}

export interface HelloOutput {
  'protocolMin': (number);
  'protocolMax': (number);
  'codecIds': (Buffer)[];
  'client': (string);
  'loadIntervalMs': (number);
}
