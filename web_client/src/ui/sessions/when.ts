/** Times of a session, from one's own side of a room. */
import type { RoomState } from '../../room/state';
import { ownOf, partnerOf } from '../people';
import { words } from '../words';
import { deviceZone, usableZone } from './time';
import { type Sides, whenInWords } from './words';

export function sidesOf(room: RoomState): Sides {
  const tz = usableZone(ownOf(room)?.tz ?? deviceZone());
  const partner = partnerOf(room);
  const other = partner
    ? { ...partner, tz: usableZone(partner.tz) }
    : { person: '', name: words.chat.someone, tz };
  return { own: { person: room.you.person, tz }, other };
}

export function whenIn(room: RoomState, now: number): (start: number) => string {
  const sides = sidesOf(room);
  return (start) => whenInWords(start, sides, now);
}
