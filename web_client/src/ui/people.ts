/** Whom a room is about, from one's own side. */
import type { PersonShown } from '../protocol/wire';
import type { RoomState } from '../room/state';
import { words } from './words';

export function nameOf(room: RoomState, person: string): string {
  if (person === room.you.person) return words.room.you;
  return room.people.find((one) => one.person === person)?.name ?? words.chat.someone;
}

/** The other one of a pair; in a larger room the first of the others. */
export function partnerOf(room: RoomState): PersonShown | null {
  return room.people.find(({ person }) => person !== room.you.person) ?? null;
}

export function ownOf(room: RoomState): PersonShown | null {
  return room.people.find(({ person }) => person === room.you.person) ?? null;
}

export type Where = keyof typeof words.room.presence;

export function whereIs(room: RoomState, { person, online }: PersonShown): Where {
  const devices = room.peers.filter((peer) => peer.person === person && peer.state !== 'gone');
  if (devices.some(({ media }) => media !== null)) return 'in_call';
  if (devices.some(({ state }) => state === 'here')) return 'here';
  return online ? 'online' : 'offline';
}

/** L10: everybody else has seen everything up to the returned id; null = not everybody has seen anything. */
export function seenByAll(room: RoomState, compare: (a: string, b: string) => number): string | null {
  const marks = room.people.filter(({ person }) => person !== room.you.person).map(({ read }) => read);
  if (marks.length === 0) return null;
  return marks.reduce((least, mark) =>
    least === null || mark === null ? null : compare(mark, least) < 0 ? mark : least,
  );
}
