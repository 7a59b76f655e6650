import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vitest/config';

export default defineConfig({
  base: '/',
  plugins: [svelte()],
  build: {
    target: 'es2022',
    // Nothing inlined: the page's Content-Security-Policy knows files of our own only.
    assetsInlineLimit: 0,
    // One stylesheet, linked in <head>: the first paint is a styled one.
    cssCodeSplit: false,
    modulePreload: { polyfill: false },
  },
  server: {
    proxy: {
      '/socket.io': { target: 'http://127.0.0.1:8080', ws: true },
      '/api': 'http://127.0.0.1:8080',
    },
  },
  // A property is tried with hundreds of stories: how long that takes is the machine's affair, and only a test that hangs is over.
  test: { include: ['src/**/*.test.ts'], environment: 'node', testTimeout: 120_000 },
});
