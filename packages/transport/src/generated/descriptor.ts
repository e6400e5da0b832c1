// Made by `npm run generate -w @raccoon/transport` from proto/. Do not edit.

import type { fromJSON } from '@grpc/proto-loader';

type Descriptor = Parameters<typeof fromJSON>[0];

// protobufjs's own types know no maps here
export const descriptor: Descriptor = {
  "nested": {
    "inference": {
      "nested": {
        "GRPCInferenceService": {
          "methods": {
            "ServerLive": {
              "requestType": "ServerLiveRequest",
              "responseType": "ServerLiveResponse",
              "comment": ""
            },
            "ServerReady": {
              "requestType": "ServerReadyRequest",
              "responseType": "ServerReadyResponse",
              "comment": ""
            },
            "ModelReady": {
              "requestType": "ModelReadyRequest",
              "responseType": "ModelReadyResponse",
              "comment": ""
            },
            "ServerMetadata": {
              "requestType": "ServerMetadataRequest",
              "responseType": "ServerMetadataResponse",
              "comment": ""
            },
            "ModelMetadata": {
              "requestType": "ModelMetadataRequest",
              "responseType": "ModelMetadataResponse",
              "comment": ""
            },
            "ModelInfer": {
              "requestType": "ModelInferRequest",
              "responseType": "ModelInferResponse",
              "comment": ""
            }
          }
        },
        "ServerLiveRequest": {
          "fields": {}
        },
        "ServerLiveResponse": {
          "fields": {
            "live": {
              "type": "bool",
              "id": 1
            }
          }
        },
        "ServerReadyRequest": {
          "fields": {}
        },
        "ServerReadyResponse": {
          "fields": {
            "ready": {
              "type": "bool",
              "id": 1
            }
          }
        },
        "ModelReadyRequest": {
          "fields": {
            "name": {
              "type": "string",
              "id": 1
            },
            "version": {
              "type": "string",
              "id": 2
            }
          }
        },
        "ModelReadyResponse": {
          "fields": {
            "ready": {
              "type": "bool",
              "id": 1
            }
          }
        },
        "ServerMetadataRequest": {
          "fields": {}
        },
        "ServerMetadataResponse": {
          "fields": {
            "name": {
              "type": "string",
              "id": 1
            },
            "version": {
              "type": "string",
              "id": 2
            },
            "extensions": {
              "rule": "repeated",
              "type": "string",
              "id": 3
            }
          }
        },
        "ModelMetadataRequest": {
          "fields": {
            "name": {
              "type": "string",
              "id": 1
            },
            "version": {
              "type": "string",
              "id": 2
            }
          }
        },
        "ModelMetadataResponse": {
          "fields": {
            "name": {
              "type": "string",
              "id": 1
            },
            "versions": {
              "rule": "repeated",
              "type": "string",
              "id": 2
            },
            "platform": {
              "type": "string",
              "id": 3
            },
            "inputs": {
              "rule": "repeated",
              "type": "TensorMetadata",
              "id": 4
            },
            "outputs": {
              "rule": "repeated",
              "type": "TensorMetadata",
              "id": 5
            }
          },
          "nested": {
            "TensorMetadata": {
              "fields": {
                "name": {
                  "type": "string",
                  "id": 1
                },
                "datatype": {
                  "type": "string",
                  "id": 2
                },
                "shape": {
                  "rule": "repeated",
                  "type": "int64",
                  "id": 3
                }
              }
            }
          }
        },
        "ModelInferRequest": {
          "fields": {
            "modelName": {
              "type": "string",
              "id": 1
            },
            "modelVersion": {
              "type": "string",
              "id": 2
            },
            "id": {
              "type": "string",
              "id": 3
            },
            "parameters": {
              "keyType": "string",
              "type": "InferParameter",
              "id": 4
            },
            "inputs": {
              "rule": "repeated",
              "type": "InferInputTensor",
              "id": 5
            },
            "outputs": {
              "rule": "repeated",
              "type": "InferRequestedOutputTensor",
              "id": 6
            },
            "rawInputContents": {
              "rule": "repeated",
              "type": "bytes",
              "id": 7
            }
          },
          "nested": {
            "InferInputTensor": {
              "fields": {
                "name": {
                  "type": "string",
                  "id": 1
                },
                "datatype": {
                  "type": "string",
                  "id": 2
                },
                "shape": {
                  "rule": "repeated",
                  "type": "int64",
                  "id": 3
                },
                "parameters": {
                  "keyType": "string",
                  "type": "InferParameter",
                  "id": 4
                },
                "contents": {
                  "type": "InferTensorContents",
                  "id": 5
                }
              }
            },
            "InferRequestedOutputTensor": {
              "fields": {
                "name": {
                  "type": "string",
                  "id": 1
                },
                "parameters": {
                  "keyType": "string",
                  "type": "InferParameter",
                  "id": 2
                }
              }
            }
          }
        },
        "ModelInferResponse": {
          "fields": {
            "modelName": {
              "type": "string",
              "id": 1
            },
            "modelVersion": {
              "type": "string",
              "id": 2
            },
            "id": {
              "type": "string",
              "id": 3
            },
            "parameters": {
              "keyType": "string",
              "type": "InferParameter",
              "id": 4
            },
            "outputs": {
              "rule": "repeated",
              "type": "InferOutputTensor",
              "id": 5
            },
            "rawOutputContents": {
              "rule": "repeated",
              "type": "bytes",
              "id": 6
            }
          },
          "nested": {
            "InferOutputTensor": {
              "fields": {
                "name": {
                  "type": "string",
                  "id": 1
                },
                "datatype": {
                  "type": "string",
                  "id": 2
                },
                "shape": {
                  "rule": "repeated",
                  "type": "int64",
                  "id": 3
                },
                "parameters": {
                  "keyType": "string",
                  "type": "InferParameter",
                  "id": 4
                },
                "contents": {
                  "type": "InferTensorContents",
                  "id": 5
                }
              }
            }
          }
        },
        "InferParameter": {
          "oneofs": {
            "parameterChoice": {
              "oneof": [
                "boolParam",
                "int64Param",
                "stringParam",
                "doubleParam",
                "uint64Param"
              ]
            }
          },
          "fields": {
            "boolParam": {
              "type": "bool",
              "id": 1
            },
            "int64Param": {
              "type": "int64",
              "id": 2
            },
            "stringParam": {
              "type": "string",
              "id": 3
            },
            "doubleParam": {
              "type": "double",
              "id": 4
            },
            "uint64Param": {
              "type": "uint64",
              "id": 5
            }
          }
        },
        "InferTensorContents": {
          "fields": {
            "boolContents": {
              "rule": "repeated",
              "type": "bool",
              "id": 1
            },
            "intContents": {
              "rule": "repeated",
              "type": "int32",
              "id": 2
            },
            "int64Contents": {
              "rule": "repeated",
              "type": "int64",
              "id": 3
            },
            "uintContents": {
              "rule": "repeated",
              "type": "uint32",
              "id": 4
            },
            "uint64Contents": {
              "rule": "repeated",
              "type": "uint64",
              "id": 5
            },
            "fp32Contents": {
              "rule": "repeated",
              "type": "float",
              "id": 6
            },
            "fp64Contents": {
              "rule": "repeated",
              "type": "double",
              "id": 7
            },
            "bytesContents": {
              "rule": "repeated",
              "type": "bytes",
              "id": 8
            }
          }
        }
      }
    },
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
                    "more",
                    "load"
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
                },
                "load": {
                  "type": "Load",
                  "id": 5
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
                },
                "loadIntervalMs": {
                  "type": "uint32",
                  "id": 5
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
            "Load": {
              "fields": {
                "queueMs": {
                  "type": "float",
                  "id": 1
                },
                "imagesPerSecond": {
                  "type": "float",
                  "id": 2
                },
                "utilisation": {
                  "type": "float",
                  "id": 3
                },
                "draining": {
                  "type": "bool",
                  "id": 4
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
} as Descriptor;
