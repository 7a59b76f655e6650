/** The one sentence of the status region: the most important thing to know now. `news` is heard where nothing is wrong. */
import type { CallState } from '../call/state';
import { shown, told } from '../call/told';
import type { ConnectionState } from '../protocol/connection';
import type { RoomState } from '../room/state';
import { nameOf, partnerOf, whereIs } from './people';
import { words } from './words';

const CALM: ReadonlySet<ReturnType<typeof told>['kind']> = new Set([
  'idle',
  'connected',
  'ended',
  'waiting',
  'declined',
  'unanswered',
]);

export function statusText(
  room: RoomState | null,
  link: ConnectionState,
  offline: boolean,
  call: CallState,
  news: string | null = null,
): string {
  const w = words.status;
  if (link.kind === 'stopped') {
    if (link.why === 'replaced') return link.code === 'too_many' ? w.tooMany : w.replaced;
    return link.why === 'revoked' ? w.revoked : link.message;
  }
  if (room === null) return offline ? w.offline : w.opening;
  const now = told(call);
  if (offline) return shown(call) === 'connected' ? w.offlineInCall : w.offline;
  if (news !== null && CALM.has(now.kind)) return news;
  const name = (person: string) => nameOf(room, person);
  const partner = partnerOf(room);
  switch (now.kind) {
    case 'idle':
      return partner ? w.presence(partner.name, words.room.presence[whereIs(room, partner)]) : '';
    case 'connected':
      return w.connected(partner?.name ?? '');
    case 'ended':
      return w.ended(now.reason, name);
    case 'connecting':
      return w.connecting;
    case 'resuming':
      return w.resuming;
    case 'partner_reconnecting':
      return w.partnerReconnecting(name(now.person));
    case 'reconnecting':
      return w.reconnecting;
    case 'sound_missing':
      return w.soundMissing(name(now.person));
    case 'picture_missing':
      return w.pictureMissing(name(now.person));
    case 'rung':
      return w.rung(name(now.person));
    case 'ringing':
      return w.ringing(name(now.person));
    case 'waiting':
      return w.waiting(name(now.person));
    case 'declined':
      return w.declined(name(now.person));
    case 'unanswered':
      return w.unanswered(name(now.person));
  }
}
