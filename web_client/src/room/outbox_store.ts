/**
 * The outbox on disk: IndexedDB, one record per entry, found by room and person. If the browser refuses (private
 * windows, no space) the outbox lives in memory only and `durable` says so.
 */
import { type Entry, isAcknowledged, isTextOf, type Outbox } from './outbox';

interface Stored extends Entry {
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

  /** What was written before this page was loaded, in the order of writing. */
  async load(): Promise<Outbox> {
    const records = await this.#mine();
    return records.sort((a, b) => a.madeAt - b.madeAt).map(({ owner: _, ...entry }) => entry);
  }

  /** Makes the disk say what the outbox says: all of a change or nothing of it. */
  async save(before: Outbox, after: Outbox): Promise<void> {
    const known = new Map(before.map((entry) => [entry.key, entry]));
    const written = after.filter((entry) => known.get(entry.key) !== entry);
    for (const { key } of after) known.delete(key);
    if (written.length + known.size === 0) return;
    await this.#within('readwrite', (store) => {
      for (const entry of written) store.put({ ...entry, owner: this.#owner } satisfies Stored);
      for (const key of known.keys()) store.delete(key);
    });
  }

  /** L8: the texts of deleted messages, those that other tabs wrote down included. */
  async forget(refs: readonly string[]): Promise<void> {
    const gone = (await this.#mine()).filter((entry) => refs.some((ref) => isTextOf(entry, ref)));
    if (gone.length === 0) return;
    await this.#within('readwrite', (store) => {
      for (const { key } of gone) store.delete(key);
    });
  }

  async #mine(): Promise<Stored[]> {
    const request = await this.#within(
      'readonly',
      (store): IDBRequest<Stored[]> => store.index('owner').getAll(this.#owner),
    );
    return request?.result ?? [];
  }

  /** Everything that `act` asks for in one transaction, completed. Null if the browser refuses. */
  async #within<T>(mode: IDBTransactionMode, act: (store: IDBObjectStore) => T): Promise<T | null> {
    const database = await this.#opened;
    if (database === null) return null;
    try {
      const transaction = database.transaction('entries', mode);
      const asked = act(transaction.objectStore('entries'));
      await completed(transaction);
      return asked;
    } catch {
      this.durable = false;
      return null;
    }
  }
}

/** A log-in ends: what was said and acknowledged does not stay on this device. What still waits does. */
export async function forgetAcknowledged(person: string): Promise<void> {
  const database = await open();
  const transaction = database.transaction('entries', 'readwrite');
  const store = transaction.objectStore('entries');
  const all: IDBRequest<Stored[]> = store.getAll();
  all.onsuccess = () => {
    for (const entry of all.result)
      if (entry.owner.endsWith(`\n${person}`) && isAcknowledged(entry)) store.delete(entry.key);
  };
  await completed(transaction);
  database.close();
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

function completed(transaction: IDBTransaction): Promise<void> {
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve();
    transaction.onabort = () => reject(transaction.error);
  });
}
