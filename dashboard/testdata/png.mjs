// Pictures of pages hold few colours that matter: with a palette of 256 they
// take a third of the space, and nobody sees the difference.
import { crc32, deflateSync, inflateSync } from "node:zlib";

const signature = Buffer.from("89504e470d0a1a0a", "hex");

// small writes a PNG of Chromium's (8 bits, RGB or RGBA) anew, with a palette.
export function small(png) {
  const { width, height, depth, kind, data } = chunks(png);
  if (depth !== 8 || (kind !== 2 && kind !== 6)) return png;
  const bytes = kind === 6 ? 4 : 3, pixels = unfiltered(data, width, height, bytes);
  const counts = new Map(), at = (i) => (pixels[i] << 16) | (pixels[i + 1] << 8) | pixels[i + 2];
  for (let i = 0; i < pixels.length; i += bytes) counts.set(at(i), (counts.get(at(i)) ?? 0) + 1);
  const palette = chosen(counts);
  const index = new Map(palette.map((c, i) => [c, i]));
  const rows = Buffer.alloc((width + 1) * height);
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i += bytes) {
      const c = at(i);
      if (!index.has(c)) index.set(c, nearest(palette, c));
      rows[y * (width + 1) + 1 + x] = index.get(c);
    }
  }
  const head = Buffer.alloc(13);
  head.writeUInt32BE(width, 0);
  head.writeUInt32BE(height, 4);
  head.set([8, 3, 0, 0, 0], 8);
  return Buffer.concat([signature, chunk("IHDR", head), chunk("PLTE", Buffer.from(palette.flatMap((c) => [c >> 16, (c >> 8) & 255, c & 255]))), chunk("IDAT", deflateSync(rows, { level: 9 })), chunk("IEND", Buffer.alloc(0))]);
}

function chunks(png) {
  const head = png.subarray(16, 29), parts = [];
  for (let i = 8; i < png.length; i += 12 + png.readUInt32BE(i)) {
    if (png.toString("latin1", i + 4, i + 8) === "IDAT") parts.push(png.subarray(i + 8, i + 8 + png.readUInt32BE(i)));
  }
  return { width: head.readUInt32BE(0), height: head.readUInt32BE(4), depth: head[8], kind: head[9], data: inflateSync(Buffer.concat(parts)) };
}

// unfiltered takes back what PNG does to each row so that it packs better.
function unfiltered(data, width, height, bytes) {
  const stride = width * bytes, out = new Uint8Array(stride * height);
  for (let y = 0; y < height; y++) {
    const filter = data[y * (stride + 1)], row = y * (stride + 1) + 1, to = y * stride;
    for (let x = 0; x < stride; x++) {
      const left = x >= bytes ? out[to + x - bytes] : 0, up = y > 0 ? out[to + x - stride] : 0, corner = x >= bytes && y > 0 ? out[to + x - stride - bytes] : 0;
      const guess = [0, left, up, (left + up) >> 1, paeth(left, up, corner)][filter];
      out[to + x] = data[row + x] + guess;
    }
  }
  return out;
}

function paeth(a, b, c) {
  const [pa, pb, pc] = [Math.abs(b - c), Math.abs(a - c), Math.abs(a + b - 2 * c)];
  return pa <= pb && pa <= pc ? a : pb <= pc ? b : c;
}

// chosen are the most frequent colours, and then those that are the most unlike
// them: few dots of red mean more than many shades of grey.
function chosen(counts) {
  const all = [...counts].sort(([, a], [, b]) => b - a), palette = all.slice(0, 96).map(([c]) => c);
  const rest = all.slice(96).map(([c, n]) => ({ c, weight: Math.sqrt(n), away: Math.min(...palette.map((p) => apart(p, c))) }));
  while (palette.length < 256 && rest.length > 0) {
    const next = rest.reduce((a, b) => (b.weight * b.away > a.weight * a.away ? b : a));
    if (next.away === 0) break;
    palette.push(next.c);
    for (const r of rest) r.away = Math.min(r.away, apart(next.c, r.c));
  }
  return palette;
}

const apart = (a, b) => ((a >> 16) - (b >> 16)) ** 2 + (((a >> 8) & 255) - ((b >> 8) & 255)) ** 2 + ((a & 255) - (b & 255)) ** 2;

function nearest(palette, c) {
  let best = 0;
  for (const [i, p] of palette.entries()) if (apart(p, c) < apart(palette[best], c)) best = i;
  return best;
}

function chunk(name, data) {
  const body = Buffer.concat([Buffer.from(name, "latin1"), data]), out = Buffer.alloc(body.length + 8);
  out.writeUInt32BE(data.length, 0);
  body.copy(out, 4);
  out.writeUInt32BE(crc32(body), body.length + 4);
  return out;
}
