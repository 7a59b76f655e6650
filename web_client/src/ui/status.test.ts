import { describe, expect, it } from 'vitest';
import { type CallState, initialCall } from '../call/state';
import type { ConnectionState } from '../protocol/connection';
import type { Joined } from '../protocol/wire';
import { LogModel } from '../room/log_model';
import { joined } from '../room/state';
import { statusText } from './status';

const answer: Joined = {
  ok: true,
  you: { peer: 'p', person: 'mentor', role: 'mentor', polite: false, leg: 0, media: null },
  room: { slug: 'r', title: 'Room' },
  people: [{ person: 'mentee', name: 'Mio', role: 'mentee', tz: 'UTC', online: false, read: null }],
  peers: [],
  call: null,
  session: null,
  log: new LogModel().newest(50),
  ice: { servers: [], policy: 'all', expires_at: 0 },
};
const room = joined(null, answer, null);
const NEWS = 'Mio moved the session.';

function said(call: Partial<CallState> = {}, link: ConnectionState = { kind: 'online' }, offline = false) {
  return statusText(room, link, offline, { ...initialCall, ...call }, NEWS);
}

describe('news of the session in the status', () => {
  it('is said where nothing else has to be', () => {
    expect(said()).toBe(NEWS);
    expect(statusText(room, { kind: 'online' }, false, initialCall)).toBe('Mio is not here right now.');
  });

  it('waits behind a ring, an outage, and a tab that was replaced', () => {
    expect(said({ ring: { call: 'c', by: 'mentee' } })).toBe('Mio is calling.');
    expect(said({}, { kind: 'offline', attempt: 1 }, true)).toBe('Reconnecting. What you write is kept.');
    const replaced = { kind: 'stopped', why: 'replaced', code: 'device', message: '' } as const;
    expect(said({}, replaced)).toBe('This room is open in another tab or window.');
  });
});
