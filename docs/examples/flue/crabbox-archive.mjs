// Unpacks the archive of a request of crabbox. See `crabbox-runner.mjs`.

import { createHash } from 'node:crypto';
import fs from 'node:fs';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import zlib from 'node:zlib';

/** How long the name of one entry may be. */
const NAME_BYTES = 1024 * 1024;

/** A request that cannot be done. `kind` tells crabbox what to make of it. */
export class Refused extends Error {
  constructor(kind, message) {
    super(message);
    this.kind = kind;
  }
}

/**
 * Unpacks files, directories and links into the fresh directory `root`, as a stream.
 *
 * Nothing is ever written through a link: they are made last, and only where they lead to a place inside.
 * Whatever else an archive may hold (hard links, devices, absolute names, `..`, a name twice) is refused.
 * Size and SHA-256 are compared before anything may run.
 */
export async function unpack(archive, root, limits) {
  const source = Readable.from(verified(archive));
  const steps = archive.format === 'tar.gz' ? [source, zlib.createGunzip()] : [source];
  await pipeline(...steps, (bytes) => extract(new Bytes(bytes), root, limits));
}

/** The bytes of the archive; an error at the end if they are not the announced ones. */
async function* verified({ path: file, size, sha256 }) {
  const hash = createHash('sha256');
  let count = 0;
  for await (const chunk of fs.createReadStream(file, { highWaterMark: 256 * 1024 })) {
    hash.update(chunk);
    count += chunk.length;
    yield chunk;
  }
  if (count !== size || hash.digest('hex') !== sha256) {
    throw new Refused('archive', 'the archive is not the one that was announced');
  }
}

async function extract(bytes, root, limits) {
  const place = placesIn(root);
  const links = new Map();
  let entries = 0;
  let left = limits.unpackedBytes;
  for await (const { type, name, size, mode, mtime, target } of headers(bytes)) {
    if (++entries > limits.entries) throw new Refused('limit', `more than ${limits.entries} entries in the archive`);
    left -= size;
    if (left < 0) throw new Refused('limit', `more than ${limits.unpackedBytes} bytes in the archive`);
    const steps = stepsOf(name);
    if (type === 'directory') {
      directories(place, steps);
      continue;
    }
    if (steps.length === 0) throw new Refused('archive', `\`${shown(name)}\` is no name for a file`);
    directories(place, steps.slice(0, -1));
    if (type === 'link') {
      links.set(steps.join('/'), target);
      continue;
    }
    // A name that is there already is an error: what is written is always new, and never behind a link.
    const fd = fs.openSync(place(steps), 'wx', 0o600);
    try {
      for (let rest = size; rest > 0; ) {
        const chunk = await bytes.some(rest);
        writeAll(fd, chunk);
        rest -= chunk.length;
      }
      fs.fchmodSync(fd, mode & 0o777);
      fs.futimesSync(fd, mtime, mtime);
    } finally {
      fs.closeSync(fd);
    }
    await bytes.exactly(padding(size));
  }
  await bytes.drain();
  for (const [name, target] of links) {
    if (!leadsInside(name, target, links)) {
      throw new Refused('link', `\`${shown(name)}\` is a link to \`${shown(target)}\`, which is outside of the tree`);
    }
    fs.symlinkSync(Buffer.from(target, 'latin1'), place(name.split('/')));
  }
}

/** Names are bytes on this system. They are kept as text with one character for each byte. */
function placesIn(root) {
  const base = Buffer.from(root).toString('latin1');
  return (steps) => Buffer.from([base, ...steps].join('/'), 'latin1');
}

function shown(name) {
  return Buffer.from(name, 'latin1').toString('utf8');
}

/** The parts of a name in the archive. */
function stepsOf(name) {
  const steps = name.split('/').filter((step) => step !== '' && step !== '.');
  if (name.startsWith('/') || name.includes('\0') || steps.includes('..')) {
    throw new Refused('archive', `\`${shown(name)}\` is a name outside of the tree`);
  }
  return steps;
}

function directories(place, steps) {
  for (let depth = 1; depth <= steps.length; depth++) {
    try {
      fs.mkdirSync(place(steps.slice(0, depth)));
    } catch (error) {
      if (error.code !== 'EEXIST') throw error;
    }
  }
}

/**
 * Whether a link stays in the tree. `..` counts from where the link is; after a step that is itself a link
 * nobody can say where it leads, so there it is refused.
 */
function leadsInside(name, target, links) {
  if (target === '' || target.startsWith('/') || target.includes('\0')) return false;
  const at = name.split('/').slice(0, -1);
  let followed = false;
  for (const step of target.split('/')) {
    if (step === '' || step === '.') continue;
    if (step === '..') {
      if (followed || at.length === 0) return false;
      at.pop();
    } else {
      at.push(step);
      followed ||= links.has(at.join('/'));
    }
  }
  return true;
}

/** The entries of a tar archive (ustar, GNU, pax). The consumer takes `size` bytes and their padding. */
async function* headers(bytes) {
  let long = {};
  for (;;) {
    const header = await bytes.exactly(512);
    if (header.every((byte) => byte === 0)) return;
    let sum = 0;
    for (let at = 0; at < 512; at++) sum += at >= 148 && at < 156 ? 32 : header[at];
    if (sum !== number(header, 148, 8)) throw new Refused('archive', 'the archive is damaged');
    const type = String.fromCharCode(header[156] || 0x30);
    const size = long.size ?? number(header, 124, 12);
    if ('LKxg'.includes(type)) {
      if (size > NAME_BYTES) throw new Refused('archive', `a name of ${size} bytes in the archive`);
      const text = (await bytes.exactly(size)).toString('latin1');
      await bytes.exactly(padding(size));
      if (type === 'L') long.path = text.split('\0')[0];
      if (type === 'K') long.linkpath = text.split('\0')[0];
      if (type === 'x') Object.assign(long, extended(text));
      continue;
    }
    const prefix = header.toString('latin1', 257, 263) === 'ustar\0' ? field(header, 345, 155) : '';
    const short = field(header, 0, 100);
    const name = long.path ?? (prefix === '' ? short : `${prefix}/${short}`);
    const kind = { 0: 'file', 5: 'directory', 2: 'link' }[type];
    if (kind === undefined || (kind !== 'file' && size !== 0)) {
      throw new Refused('archive', `\`${shown(name)}\` is no file, directory or symbolic link (type ${type})`);
    }
    const target = long.linkpath ?? field(header, 157, 100);
    yield { type: kind, name, size, target, mode: number(header, 100, 8), mtime: number(header, 136, 12) };
    long = {};
  }
}

function field(header, from, length) {
  return header.toString('latin1', from, from + length).split('\0')[0];
}

/** Octal digits, or with the highest bit set a number in base 256. */
function number(header, from, length) {
  let value = 0;
  if (header[from] & 0x80) {
    for (let at = from + 1; at < from + length; at++) value = value * 256 + header[at];
  } else {
    const digits = field(header, from, length).trim();
    if (!/^[0-7]*$/.test(digits)) throw new Refused('archive', 'the archive is damaged');
    value = digits === '' ? 0 : parseInt(digits, 8);
  }
  if (!Number.isSafeInteger(value)) throw new Refused('archive', 'the archive is damaged');
  return value;
}

/** The records of a pax header: `LENGTH KEY=VALUE\n`. */
function extended(text) {
  const found = {};
  for (let at = 0; at < text.length; ) {
    const length = Number(/^(\d+) /.exec(text.slice(at, at + 16))?.[1] ?? 0);
    const record = text.slice(text.indexOf(' ', at) + 1, at + length - 1);
    const equals = record.indexOf('=');
    if (equals < 1 || text[at + length - 1] !== '\n') throw new Refused('archive', 'the archive is damaged');
    const [key, value] = [record.slice(0, equals), record.slice(equals + 1)];
    if (key === 'path' || key === 'linkpath') found[key] = value;
    if (key === 'size') {
      if (!/^\d{1,15}$/.test(value)) throw new Refused('archive', 'the archive is damaged');
      found.size = Number(value);
    }
    at += length;
  }
  return found;
}

function padding(size) {
  return (512 - (size % 512)) % 512;
}

/** Bytes in pieces of the length that is wanted. */
class Bytes {
  constructor(source) {
    this.source = source[Symbol.asyncIterator]();
    this.held = Buffer.alloc(0);
  }

  /** The next bytes: at least one, at most `most`. */
  async some(most) {
    while (this.held.length === 0) {
      const { done, value } = await this.source.next();
      if (done) throw new Refused('archive', 'the archive ends too early');
      this.held = value;
    }
    const bytes = this.held.subarray(0, most);
    this.held = this.held.subarray(bytes.length);
    return bytes;
  }

  async exactly(count) {
    const pieces = [];
    for (let left = count; left > 0; ) {
      pieces.push(await this.some(left));
      left -= pieces.at(-1).length;
    }
    return Buffer.concat(pieces);
  }

  /** Reads to the end, which is where the archive's hash is compared. */
  async drain() {
    while (!(await this.source.next()).done);
  }
}

function writeAll(fd, bytes) {
  for (let done = 0; done < bytes.length; ) done += fs.writeSync(fd, bytes, done);
}
