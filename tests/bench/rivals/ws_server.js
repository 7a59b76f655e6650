// The floor: the same packets on bare WebSockets, without Engine.IO and Socket.IO: `node ws_server.js <redis url> [pipelining]`.

import { createServer } from "node:http";
import notepack from "notepack.io";
import { WebSocketServer } from "ws";
import { personOf, RoomLog } from "./room_log.js";

const CONNECT = 0;
const EVENT = 2;
const ACK = 3;
const CONNECT_ERROR = 4;

const [url, ...options] = process.argv.slice(2);
const pipelining = options.includes("pipelining");
const log = new RoomLog(url, { pipelining });
const rooms = new Map();
const peers = new Map();
let connected = 0;

const http = createServer();
const server = new WebSocketServer({ server: http });

server.on("connection", (socket) => {
	socket.peer = `peer${++connected}`;
	socket.rooms = new Set();
	socket.on("message", (data) => receive(socket, notepack.decode(data)));
	socket.on("close", () => leave(socket));
	socket.on("error", () => socket.terminate());
});

const handlers = {
	"room.join": async (socket, { room, limit }, ack) => {
		if (!rooms.has(room)) rooms.set(room, new Set());
		rooms.get(room).add(socket);
		socket.rooms.add(room);
		const events = await log.newest(room, limit ?? 50);
		ack({ ok: true, you: { peer: socket.peer, person: socket.person }, log: { events } });
	},

	"chat.send": async (socket, words, ack) => {
		const message = await log.append(words.room, words, socket.person);
		const frame = event("log", message);
		for (const member of rooms.get(words.room)) member.send(frame);
		ack({ ok: true, id: message.id, at: message.at });
	},

	"call.join": (_socket, { room }, ack) => {
		ack({ ok: true, call: room, leg: 1 });
	},

	"call.signal": (socket, signal, ack) => {
		peers.get(signal.to)?.send(event("call.signal", { ...signal, from: socket.peer }));
		ack({ ok: true });
	},
};

function receive(socket, { type, data, id }) {
	if (type === CONNECT) return enter(socket, data);
	const [name, words] = data;
	handlers[name](socket, words, (answer) => {
		socket.send(notepack.encode({ type: ACK, data: [answer], nsp: "/", id }));
	});
}

function enter(socket, { token }) {
	socket.person = personOf(token);
	if (socket.person === null) {
		socket.send(notepack.encode({ type: CONNECT_ERROR, data: { message: "unauthenticated" }, nsp: "/" }));
		return socket.close();
	}
	peers.set(socket.peer, socket);
	socket.send(notepack.encode({ type: CONNECT, data: { sid: socket.peer }, nsp: "/" }));
}

function leave(socket) {
	peers.delete(socket.peer);
	for (const room of socket.rooms) {
		rooms.get(room).delete(socket);
		if (rooms.get(room).size === 0) rooms.delete(room);
	}
}

function event(name, words) {
	return notepack.encode({ type: EVENT, data: [name, words], nsp: "/" });
}

// As Engine.IO does it, so that idle sockets can be compared: each is asked now and then whether it is there.
setInterval(() => {
	for (const socket of server.clients) socket.ping();
}, 25_000);

http.listen(0, "127.0.0.1", () => {
	console.log(`listening on http://127.0.0.1:${http.address().port}`);
});
