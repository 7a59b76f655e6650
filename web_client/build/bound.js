// The first load of the room is at most 120 kB of JavaScript, gzip: the build fails above it.
import { readdirSync, readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';

const BOUND_BYTES = 120_000;
const folder = new URL('../dist/', import.meta.url);

const html = readFileSync(new URL('index.html', folder), 'utf8');
if (/<script(?![^>]*\ssrc=)[^>]*>|<style|\sstyle=/.test(html)) {
  console.error('index.html holds an inline script or style, which the Content-Security-Policy forbids');
  process.exit(1);
}

const scripts = readdirSync(new URL('assets/', folder)).filter((name) => name.endsWith('.js'));
const sizes = scripts.map((name) => ({
  name,
  gzip: gzipSync(readFileSync(new URL(`assets/${name}`, folder))).length,
}));
const total = sizes.reduce((sum, { gzip }) => sum + gzip, 0);
for (const { name, gzip } of sizes) console.log(`${String(gzip).padStart(8)} bytes gzip  ${name}`);
console.log(`${String(total).padStart(8)} bytes gzip of JavaScript in all, bound ${BOUND_BYTES}`);
if (total > BOUND_BYTES) {
  console.error('over the bound');
  process.exit(1);
}
