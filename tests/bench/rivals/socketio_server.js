// Socket.IO as one would write it: `node socketio_server.js <redis url> [pipelining] [streams]`.
//
// A message is stored, told to the room, acknowledged; a signal is told to the peer it names. No deduplication, no order
// between nodes, no presence, no strict decoding.

import { createServer } from "node:http";
import { createAdapter } from "@socket.io/redis-streams-adapter";
import { Redis } from "ioredis";
import { Server } from "socket.io";
import parser from "socket.io-msgpack-parser";
import { personOf, RoomLog } from "./room_log.js";

const [url, ...options] = process.argv.slice(2);
const pipelining = options.includes("pipelining");
const log = new RoomLog(url, { pipelining });
const adapter = options.includes("streams")
	? { adapter: createAdapter(new Redis(url, { enableAutoPipelining: pipelining }), { onlyPlaintext: true }) }
	: {};

const http = createServer();
const io = new Server(http, { parser, ...adapter });

io.use((socket, next) => {
	const person = personOf(socket.handshake.auth.token);
	if (person === null) return next(new Error("unauthenticated"));
	socket.data.person = person;
	next();
});

io.on("connection", (socket) => {
	socket.on("room.join", async ({ room, limit }, ack) => {
		await socket.join(room);
		const events = await log.newest(room, limit ?? 50);
		ack({ ok: true, you: { peer: socket.id, person: socket.data.person }, log: { events } });
	});

	socket.on("chat.send", async (words, ack) => {
		const message = await log.append(words.room, words, socket.data.person);
		io.to(words.room).emit("log", message);
		ack({ ok: true, id: message.id, at: message.at });
	});

	socket.on("call.join", ({ room }, ack) => {
		ack({ ok: true, call: room, leg: 1 });
	});

	socket.on("call.signal", (signal, ack) => {
		io.to(signal.to).emit("call.signal", { ...signal, from: socket.id });
		ack({ ok: true });
	});
});

http.listen(0, "127.0.0.1", () => {
	console.log(`listening on http://127.0.0.1:${http.address().port}`);
});
