// Made by `npm run generate -w @raccoon/transport` from proto/. Do not edit.

import type { fromJSON } from '@grpc/proto-loader';

export const descriptor: Parameters<typeof fromJSON>[0] = {
  "nested": {
    "raccoon": {
      "nested": {
        "v1": {
          "nested": {
            "Raccoon": {
              "methods": {
                "Infer": {
                  "requestType": "ClientMessage",
                  "requestStream": true,
                  "responseType": "ServerMessage",
                  "responseStream": true,
                  "comment": ""
                },
                "InferOnce": {
                  "requestType": "InferRequest",
                  "responseType": "InferResponse",
                  "comment": ""
                },
                "GetBundle": {
                  "requestType": "GetBundleRequest",
                  "responseType": "BundleInfo",
                  "comment": ""
                },
                "FetchFile": {
                  "requestType": "FetchFileRequest",
                  "responseType": "FileChunk",
                  "responseStream": true,
                  "comment": ""
                }
              }
            },
            "ClientMessage": {
              "oneofs": {
                "kind": {
                  "oneof": [
                    "request",
                    "cancel",
                    "hello"
                  ]
                }
              },
              "fields": {
                "request": {
                  "type": "InferRequest",
                  "id": 1
                },
                "cancel": {
                  "type": "Cancel",
                  "id": 2
                },
                "hello": {
                  "type": "Hello",
                  "id": 3
                }
              }
            },
            "ServerMessage": {
              "oneofs": {
                "kind": {
                  "oneof": [
                    "response",
                    "welcome",
                    "goAway",
                    "more"
                  ]
                }
              },
              "fields": {
                "response": {
                  "type": "InferResponse",
                  "id": 1
                },
                "welcome": {
                  "type": "Welcome",
                  "id": 2
                },
                "goAway": {
                  "type": "GoAway",
                  "id": 3
                },
                "more": {
                  "type": "More",
                  "id": 4
                }
              }
            },
            "Hello": {
              "fields": {
                "protocolMin": {
                  "type": "uint32",
                  "id": 1
                },
                "protocolMax": {
                  "type": "uint32",
                  "id": 2
                },
                "codecIds": {
                  "rule": "repeated",
                  "type": "bytes",
                  "id": 3
                },
                "client": {
                  "type": "string",
                  "id": 4
                }
              }
            },
            "Welcome": {
              "fields": {
                "protocol": {
                  "type": "uint32",
                  "id": 1
                },
                "codecIds": {
                  "rule": "repeated",
                  "type": "bytes",
                  "id": 2
                },
                "bundle": {
                  "type": "string",
                  "id": 3
                },
                "bundleVersion": {
                  "type": "string",
                  "id": 4
                },
                "maxInFlight": {
                  "type": "uint32",
                  "id": 5
                },
                "maxPayloadBytes": {
                  "type": "uint32",
                  "id": 6
                },
                "maxSlices": {
                  "type": "uint32",
                  "id": 7
                }
              }
            },
            "GoAway": {
              "fields": {
                "reason": {
                  "type": "string",
                  "id": 1
                }
              }
            },
            "More": {
              "fields": {
                "id": {
                  "type": "uint32",
                  "id": 1
                },
                "margin": {
                  "type": "float",
                  "id": 2
                }
              }
            },
            "InferRequest": {
              "fields": {
                "id": {
                  "type": "uint32",
                  "id": 1
                },
                "payload": {
                  "type": "bytes",
                  "id": 2
                },
                "timeoutMs": {
                  "type": "uint32",
                  "id": 3
                },
                "topK": {
                  "type": "uint32",
                  "id": 4
                },
                "wantLogits": {
                  "type": "bool",
                  "id": 5
                },
                "sliceIndex": {
                  "type": "uint32",
                  "id": 6
                },
                "moreSlices": {
                  "type": "bool",
                  "id": 7
                },
                "priority": {
                  "type": "uint32",
                  "id": 8
                },
                "traceparent": {
                  "type": "string",
                  "id": 9
                },
                "stopMargin": {
                  "type": "float",
                  "id": 10
                }
              }
            },
            "Cancel": {
              "fields": {
                "id": {
                  "type": "uint32",
                  "id": 1
                }
              }
            },
            "InferResponse": {
              "oneofs": {
                "outcome": {
                  "oneof": [
                    "result",
                    "error"
                  ]
                }
              },
              "fields": {
                "id": {
                  "type": "uint32",
                  "id": 1
                },
                "result": {
                  "type": "Result",
                  "id": 2
                },
                "error": {
                  "type": "Error",
                  "id": 3
                },
                "queueMs": {
                  "type": "float",
                  "id": 4
                },
                "decodeMs": {
                  "type": "float",
                  "id": 5
                },
                "inferMs": {
                  "type": "float",
                  "id": 6
                },
                "bundleVersion": {
                  "type": "string",
                  "id": 7
                }
              }
            },
            "Result": {
              "fields": {
                "top": {
                  "rule": "repeated",
                  "type": "ClassScore",
                  "id": 1
                },
                "margin": {
                  "type": "float",
                  "id": 2
                },
                "logits": {
                  "rule": "repeated",
                  "type": "float",
                  "id": 3
                }
              }
            },
            "ClassScore": {
              "fields": {
                "index": {
                  "type": "uint32",
                  "id": 1
                },
                "probability": {
                  "type": "float",
                  "id": 2
                },
                "logit": {
                  "type": "float",
                  "id": 3
                }
              }
            },
            "Error": {
              "fields": {
                "code": {
                  "type": "string",
                  "id": 1
                },
                "message": {
                  "type": "string",
                  "id": 2
                },
                "retryAfterMs": {
                  "type": "uint32",
                  "id": 3
                }
              }
            },
            "GetBundleRequest": {
              "fields": {
                "name": {
                  "type": "string",
                  "id": 1
                }
              }
            },
            "BundleInfo": {
              "fields": {
                "name": {
                  "type": "string",
                  "id": 1
                },
                "version": {
                  "type": "string",
                  "id": 2
                },
                "manifest": {
                  "type": "bytes",
                  "id": 3
                }
              }
            },
            "FetchFileRequest": {
              "fields": {
                "bundle": {
                  "type": "string",
                  "id": 1
                },
                "file": {
                  "type": "string",
                  "id": 2
                },
                "offset": {
                  "type": "uint64",
                  "id": 3
                }
              }
            },
            "FileChunk": {
              "fields": {
                "data": {
                  "type": "bytes",
                  "id": 1
                }
              }
            }
          }
        }
      }
    }
  }
};
