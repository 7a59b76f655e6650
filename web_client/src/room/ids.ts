/** Stream ids are `<milliseconds>-<sequence>`; they order a room's log (rule L1). */
export function compareIds(a: string, b: string): number {
  const [aMs, aSeq] = split(a);
  const [bMs, bSeq] = split(b);
  return aMs - bMs || aSeq - bSeq;
}

export function millisecondsOf(id: string): number {
  return split(id)[0];
}

function split(id: string): [number, number] {
  const dash = id.indexOf('-');
  return dash < 0 ? [Number(id), 0] : [Number(id.slice(0, dash)), Number(id.slice(dash + 1))];
}
