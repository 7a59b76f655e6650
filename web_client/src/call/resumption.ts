/** What a tab remembers of its call over a reload: that it was in one, and how it was seen and heard. */
export interface Resumption {
  room: string;
  call: string;
  muted: boolean;
  camera: boolean;
}

const KEY = 'telementor.call';

export function remember(resumption: Resumption): void {
  sessionStorage.setItem(KEY, JSON.stringify(resumption));
}

export function forget(): void {
  sessionStorage.removeItem(KEY);
}

export function remembered(room: string): Resumption | null {
  try {
    const kept = JSON.parse(sessionStorage.getItem(KEY) ?? 'null') as Resumption | null;
    return kept?.room === room && typeof kept.call === 'string' ? kept : null;
  } catch {
    return null;
  }
}
