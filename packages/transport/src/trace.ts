import type { TraceContext } from './transport.ts';

/** https://www.w3.org/TR/trace-context: version, trace id, parent id, flags. */
const traceparentForm = /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/;
/** The longest tracestate that must be passed on. */
const longestState = 512;

/** Nothing for a context that is malformed: tracing is never a reason to refuse an image. */
export function traceFrom(traceparent: string | undefined, tracestate?: string): TraceContext | undefined {
  if (!traceparent || !traceparentForm.test(traceparent)) return undefined;
  return tracestate && tracestate.length <= longestState ? { traceparent, tracestate } : { traceparent };
}
