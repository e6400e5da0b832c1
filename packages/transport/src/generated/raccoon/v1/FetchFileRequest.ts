// Original file: raccoon/v1/raccoon.proto

import type { Long } from '@grpc/proto-loader';

export interface FetchFileRequestInput {
  'bundle'?: (string);
  'file'?: (string);
  'offset'?: (number | string | Long);
}

export interface FetchFileRequestOutput {
  'bundle': (string);
  'file': (string);
  'offset': (number);
}
