/**
 * The outbox on disk: IndexedDB, one record per entry, found by room and person. If the browser refuses (private
 * windows, no space) the outbox lives in memory only and `durable` says so.
 */
import type { Entry, Outbox } from './outbox';

interface Kept extends Entry {
  owner: string;
}

export class OutboxStore {
  durable = true;
  #owner: string;
  #opened: Promise<IDBDatabase | null>;

  constructor(room: string, person: string) {
    this.#owner = `${room}\n${person}`;
    this.#opened = open().catch(() => {
      this.durable = false;
      return null;
    });
  }

  /** What was written and not acknowledged before this page was loaded, in the order of writing. */
  async load(): Promise<Outbox> {
    const kept = (await this.#run('readonly', (store) => store.index('owner').getAll(this.#owner))) as
      | Kept[]
      | null;
    return (kept ?? [])
      .sort((a, b) => a.madeAt - b.madeAt)
      .map(({ owner: _, ...entry }) => ({
        ...entry,
        status: entry.status.kind === 'failed' ? entry.status : { kind: 'waiting', notBefore: 0 },
      }));
  }

  /** Makes the disk say what the outbox says. An acknowledged entry is durable at the server and needs no copy. */
  async save(before: Outbox, after: Outbox): Promise<void> {
    const kept = new Map(before.filter(onDisk).map((entry) => [entry.key, entry]));
    for (const entry of after.filter(onDisk)) {
      const known = kept.get(entry.key);
      kept.delete(entry.key);
      if (known?.status.kind === entry.status.kind) continue;
      const record: Kept = { ...entry, owner: this.#owner };
      await this.#run('readwrite', (store) => store.put(record));
    }
    for (const key of kept.keys()) await this.#run('readwrite', (store) => store.delete(key));
  }

  async #run(mode: IDBTransactionMode, act: (store: IDBObjectStore) => IDBRequest): Promise<unknown> {
    const database = await this.#opened;
    if (database === null) return null;
    try {
      return await settledRequest(act(database.transaction('entries', mode).objectStore('entries')));
    } catch {
      this.durable = false;
      return null;
    }
  }
}

function onDisk(entry: Entry): boolean {
  return entry.status.kind !== 'sent';
}

function open(): Promise<IDBDatabase> {
  const request = indexedDB.open('telementor.outbox', 1);
  request.onupgradeneeded = () => {
    request.result.createObjectStore('entries', { keyPath: 'key' }).createIndex('owner', 'owner');
  };
  return settledRequest(request);
}

function settledRequest<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}
