// What the rivals share: a room's messages in a Redis stream, and tokens that prove who somebody is.

import { createHmac, timingSafeEqual } from "node:crypto";
import { Redis } from "ioredis";

const SECRET = process.env.BENCH_SECRET;

/** A room's messages, one stream each. */
export class RoomLog {
	constructor(url, { pipelining }) {
		this.redis = new Redis(url, { enableAutoPipelining: pipelining });
	}

	/** Stores a message; the message as it is told to everybody. */
	async append(room, { key, text }, by) {
		const id = await this.redis.xadd(`room:${room}`, "*", "by", by, "kind", "chat.posted", "key", key, "text", text);
		return event(room, id, by, "chat.posted", key, text);
	}

	/** The newest messages, oldest first. */
	async newest(room, limit) {
		const entries = await this.redis.xrevrange(`room:${room}`, "+", "-", "COUNT", limit);
		return entries.reverse().map(([id, [, by, , kind, , key, , text]]) => event(room, id, by, kind, key, text));
	}
}

function event(room, id, by, kind, key, text) {
	return { room, id, at: Number(id.split("-")[0]), by, kind, key, text };
}

/** Whose token that is, or null. `<person>.<hex HMAC of it>`. */
export function personOf(token) {
	if (typeof token !== "string") return null;
	const [person, mac] = token.split(".");
	const right = createHmac("sha256", SECRET).update(person).digest();
	const given = Buffer.from(mac ?? "", "hex");
	return given.length === right.length && timingSafeEqual(given, right) ? person : null;
}
