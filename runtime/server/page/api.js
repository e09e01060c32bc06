// The server's API as this page uses it. Paths are relative, so that a proxy may put the page under a prefix.
import { forTab } from "./store.js";

export const key = forTab("key");

// Why there is no answer, in words for the person who asked. `status` 0: the server could not be reached, or was lost.
export class Failure extends Error {
  constructor(status, words, detail = "") {
    super(words);
    this.status = status;
    this.detail = detail;
  }
}

const WORDS = {
  400: "The server cannot do this.",
  401: "This server wants an API key.",
  403: "Access was refused on the way to the server.",
  404: "The server does not know what was asked for.",
  413: "This conversation has become too long to send. Begin a new chat.",
  429: "The server is busy and its queue is full. Wait a moment, then try again.",
  503: "The server is shutting down, or it has failed.",
};
const UNREACHED = "The server cannot be reached. It may have stopped, or the network is down.";
const LOST = "The connection was lost before the answer was complete.";

function failure(status, error) {
  const words = WORDS[status] ?? (status >= 500 ? "Something went wrong in the server." : `The server answered with error ${status}.`);
  return new Failure(status, words, typeof error?.message === "string" ? error.message : "");
}

async function ask(path, options = {}) {
  const headers = { ...options.headers };
  if (key.get()) headers.Authorization = `Bearer ${key.get()}`;
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch (problem) {
    if (options.signal?.aborted) throw problem;
    throw new Failure(0, UNREACHED);
  }
  if (response.ok) return response;
  // A proxy's error may be no JSON.
  const body = await response.json().catch(() => null);
  throw failure(response.status, body?.error);
}

export async function models() {
  return (await (await ask("v1/models")).json()).data;
}

export async function metrics() {
  return (await ask("metrics")).text();
}

// The data of server-sent events; each of the server's is one line.
async function* lines(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const parts = (rest + value).split("\n");
      rest = parts.pop();
      for (const line of parts) if (line.startsWith("data:")) yield line.slice(5).trim();
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

// The chunks of a streamed chat completion. Throws a Failure, or the signal's AbortError.
export async function* chat(request, signal) {
  const body = JSON.stringify({ ...request, stream: true, stream_options: { include_usage: true } });
  const response = await ask("v1/chat/completions", { method: "POST", headers: { "Content-Type": "application/json" }, body, signal });
  try {
    for await (const line of lines(response.body)) {
      if (line === "[DONE]") return;
      const chunk = JSON.parse(line);
      if (chunk.error) throw failure(Number(chunk.error.code) || 500, chunk.error);
      yield chunk;
    }
  } catch (problem) {
    if (problem instanceof Failure || signal.aborted) throw problem;
    throw new Failure(0, LOST);
  }
  throw new Failure(0, LOST);
}
