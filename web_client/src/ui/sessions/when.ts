/** A moment for two people in one line: "Today, 15:00 London (your time) · 20:30 Kolkata (NAME)". */
import type { RoomState } from '../../room/state';
import { ownOf, partnerOf } from '../people';
import { words } from '../words';
import { addDays, bothTimes, cityOf, dateIn, dayIn, deviceZone, timeIn } from './time';

export interface Side {
  name: string;
  tz: string;
}

/** Zones are those of the profiles. Without a partner, or with one whose clock shows the same, it is one time. */
export function whenFor(at: number, ownTz: string, partner: Side | null, now: number): string {
  const w = words.session;
  const day = dayName(at, ownTz, now);
  if (partner === null) return w.time(day, w.own(timeIn(at, ownTz), cityOf(ownTz)));
  const times = bothTimes(at, ownTz, partner.tz);
  if (times.same) return w.time(day, w.shared(times.own));
  const theirs = times.shift === 0 ? times.other : w.time(dayName(at, partner.tz, now), times.other);
  return w.both(
    w.time(day, w.own(times.own, cityOf(ownTz))),
    w.other(theirs, cityOf(partner.tz), partner.name),
  );
}

/** From one's own side of a room. */
export function whenIn(room: RoomState, now: number): (start: number) => string {
  const tz = ownOf(room)?.tz ?? deviceZone();
  const partner = partnerOf(room);
  return (start) => whenFor(start, tz, partner, now);
}

function dayName(at: number, tz: string, now: number): string {
  const today = dateIn(now, tz);
  const date = dateIn(at, tz);
  if (date === today) return words.session.today;
  if (date === addDays(today, 1)) return words.session.tomorrow;
  if (date === addDays(today, -1)) return words.session.yesterday;
  return dayIn(at, tz, now);
}
