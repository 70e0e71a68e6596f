import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

// Everything is addressed relative to the page, so that it works behind any
// path, and nothing stands inline, so that the strictest policy lets it run.
// The server writes a nonce of its own where the placeholder stands.
export default defineConfig({
  base: "./",
  plugins: [react()],
  html: { cspNonce: "FLYBALL-NONCE" },
  build: { outDir: "dist", assetsInlineLimit: 0, modulePreload: { polyfill: false }, target: "es2022", reportCompressedSize: false },
  server: { proxy: { "/api": "http://127.0.0.1:8080", "/auth": "http://127.0.0.1:8080" } },
});
