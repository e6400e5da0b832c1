// Original file: raccoon/v1/raccoon.proto


export interface InferRequestInput {
  'id'?: (number);
  'payload'?: (Buffer | Uint8Array | string);
  'timeoutMs'?: (number);
  'topK'?: (number);
  'wantLogits'?: (boolean);
  'sliceIndex'?: (number);
  'moreSlices'?: (boolean);
  'priority'?: (number);
  'traceparent'?: (string);
  'stopMargin'?: (number | string);
}

export interface InferRequestOutput {
  'id': (number);
  'payload': (Buffer);
  'timeoutMs': (number);
  'topK': (number);
  'wantLogits': (boolean);
  'sliceIndex': (number);
  'moreSlices': (boolean);
  'priority': (number);
  'traceparent': (string);
  'stopMargin': (number);
}
