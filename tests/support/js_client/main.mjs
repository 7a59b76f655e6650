// The official socket.io-client with the official msgpack parser, driven over lines of JSON.
// argv[2] is the package.json beside whose node_modules both are installed.
// In:  {call, op: "open"|"ask"|"emit"|"drop", socket, …}     Out: {call, …result} | {socket, push|ack|closed, …}
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const require = createRequire(process.argv[2]);
const { io } = require("socket.io-client");
const msgpackParser = require("socket.io-msgpack-parser");

const sockets = new Map();

function say(line) {
  process.stdout.write(JSON.stringify(line, packBytes) + "\n");
}

// Binary values cross the lines as {$bytes: base64}.
function packBytes(_key, value) {
  if (value?.type === "Buffer") return { $bytes: Buffer.from(value.data).toString("base64") };
  if (value instanceof Uint8Array) return { $bytes: Buffer.from(value).toString("base64") };
  return value;
}

function unpackBytes(_key, value) {
  return typeof value?.$bytes === "string" ? Buffer.from(value.$bytes, "base64") : value;
}

function open({ call, socket: name, url, auth, transports, headers, namespace, msgpack, reconnect }) {
  const socket = io(new URL(namespace, url).href.replace(/\/$/, "") + new URL(url).search, {
    auth,
    transports,
    extraHeaders: headers,
    forceNew: true,
    reconnection: reconnect,
    ...(msgpack ? { parser: msgpackParser } : {}),
  });
  sockets.set(name, socket);
  let answered = false;
  const answer = (result) => {
    if (!answered) say({ call, ...result });
    answered = true;
  };
  socket.on("connect", () => answer({ connected: true }));
  socket.on("connect_error", (error) => {
    answer({ refused: { message: error.message, data: error.data ?? null } });
    if (!socket.active) socket.disconnect();
  });
  socket.on("disconnect", (reason) => say({ socket: name, closed: reason }));
  socket.onAny((push, ...args) => say({ socket: name, push, args }));
}

const operations = {
  open,
  ask({ call, socket, number, event, args }) {
    sockets.get(socket).emit(event, ...args, (...ack) => say({ socket, ack, number }));
    say({ call });
  },
  emit({ call, socket, event, args }) {
    sockets.get(socket).emit(event, ...args);
    say({ call });
  },
  drop({ call, socket }) {
    sockets.get(socket).disconnect();
    sockets.delete(socket);
    say({ call });
  },
  transport({ call, socket }) {
    say({ call, transport: sockets.get(socket).io.engine.transport.name });
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line, unpackBytes);
  operations[request.op](request);
}
process.exit(0);
