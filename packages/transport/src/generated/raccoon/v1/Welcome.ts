// Original file: raccoon/v1/raccoon.proto


export interface WelcomeInput {
  'protocol'?: (number);
  'codecIds'?: (Buffer | Uint8Array | string)[];
  'bundle'?: (string);
  'bundleVersion'?: (string);
  'maxInFlight'?: (number);
  'maxPayloadBytes'?: (number);
  'maxSlices'?: (number);
}

export interface WelcomeOutput {
  'protocol': (number);
  'codecIds': (Buffer)[];
  'bundle': (string);
  'bundleVersion': (string);
  'maxInFlight': (number);
  'maxPayloadBytes': (number);
  'maxSlices': (number);
}
