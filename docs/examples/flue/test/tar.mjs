// Writes tar archives entry by entry, also such as no tar would write.

/** One entry: its header, its content, and what fills the last block. */
export function entry(name, { type = '0', content = '', mode = 0o644, mtime = 1, target = '', size, format = 'ustar' } = {}) {
  const body = Buffer.from(content);
  const header = Buffer.alloc(512);
  const put = (text, at, length) => Buffer.from(text).copy(header, at, 0, length);
  put(name, 0, 100);
  put(mode.toString(8).padStart(7, '0'), 100, 8);
  number(header, size ?? body.length, 124, 12);
  put(mtime.toString(8).padStart(11, '0'), 136, 12);
  put(type, 156, 1);
  put(target, 157, 100);
  put(format === 'gnu' ? 'ustar  \0' : 'ustar\x0000', 257, 8);
  return Buffer.concat([sealed(header), body, Buffer.alloc((512 - (body.length % 512)) % 512)]);
}

/** Octal digits, or base 256 for what they do not hold. */
function number(header, value, at, length) {
  if (value < 8 ** (length - 1)) {
    header.write(value.toString(8).padStart(length - 1, '0'), at);
  } else {
    header.writeBigUInt64BE(BigInt(value), at + length - 8);
    header[at] |= 0x80;
  }
}

function sealed(header) {
  header.fill(0x20, 148, 156);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return header;
}

/** A name or a target that is too long for a header, as GNU tar writes it. */
export function long(type, text) {
  return entry('././@LongLink', { type, content: `${text}\0`, format: 'gnu' });
}

/** The same, and other things, as pax writes them. */
export function pax(records) {
  const lines = Object.entries(records).map(([key, value]) => {
    const rest = Buffer.byteLength(` ${key}=${value}\n`);
    let length = rest;
    while (length !== rest + String(length).length) length = rest + String(length).length;
    return `${length} ${key}=${value}\n`;
  });
  return entry('PaxHeader', { type: 'x', content: lines.join('') });
}

export const END = Buffer.alloc(1024);
