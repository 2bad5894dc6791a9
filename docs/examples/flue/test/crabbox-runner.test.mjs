// node --test docs/examples/flue/test/crabbox-runner.test.mjs
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import test, { after } from 'node:test';
import zlib from 'node:zlib';

import { runRequest } from '../crabbox-runner.mjs';
import { END, entry, long, pax } from './tar.mjs';

const home = fs.mkdtempSync(path.join(os.tmpdir(), 'crabbox-runner-'));
after(() => fs.rmSync(home, { recursive: true }));
let count = 0;

/** A private directory with an archive and a request for it. */
function prepare(entries, changes = {}, { gzip = false, mode = 0o600 } = {}) {
  const directory = path.join(home, String(++count));
  fs.mkdirSync(directory, { mode: 0o700 });
  const at = (name) => path.join(directory, name);
  const tar = Buffer.concat([...entries, END]);
  const archive = gzip ? zlib.gzipSync(tar) : tar;
  fs.writeFileSync(at('archive'), archive);
  for (const name of ['stdout', 'stderr']) fs.writeFileSync(at(name), '');
  const request = {
    protocolVersion: 1,
    command: ['sh', '-c', 'exit 0'],
    env: { PATH: process.env.PATH },
    archive: {
      path: at('archive'),
      format: gzip ? 'tar.gz' : 'tar',
      size: archive.length,
      sha256: createHash('sha256').update(archive).digest('hex'),
    },
    workRoot: at('work'),
    resultFile: at('result.json'),
    stdoutFile: at('stdout'),
    stderrFile: at('stderr'),
    limits: { unpackedBytes: 1 << 20, entries: 100 },
    ...changes,
  };
  fs.writeFileSync(at('request.json'), JSON.stringify(request));
  fs.chmodSync(at('request.json'), mode);
  return { at, file: at('request.json'), read: (name) => fs.readFileSync(at(name), 'utf8') };
}

/** Runs a command in a tree, and returns what it came to. */
async function run(command, entries = [], changes = {}, how = {}) {
  const place = prepare(entries, { command, ...changes }, how);
  const result = await runRequest(place.file);
  if (fs.existsSync(place.at('result.json'))) assert.deepEqual(JSON.parse(place.read('result.json')), result);
  return { ...place, result };
}

/** Unpacks what has to be refused, and says why it was. Nothing may have been written outside. */
async function refused(...entries) {
  const before = fs.readdirSync(home).length;
  const { result, at } = await run(['touch', path.join(home, 'ran')], entries);
  assert.equal(result.exitCode, undefined, JSON.stringify(result));
  assert.ok(!fs.existsSync(path.join(home, 'ran')), 'the command was not started');
  assert.equal(fs.readdirSync(home).length, before + 1, 'nothing was written beside');
  const left = ['archive', 'result.json', 'stderr', 'stdout', 'work'];
  assert.deepEqual(fs.readdirSync(at('.')).sort(), left, 'nothing was written above');
  return result.error;
}

test('exit codes and signals are told, and the two streams are kept apart', async () => {
  const seven = await run(['sh', '-c', 'echo out; echo err >&2; exit 7']);
  assert.equal(seven.result.exitCode, 7);
  assert.equal(seven.result.protocolVersion, 1);
  assert.ok(Number.isInteger(seven.result.durationMs));
  assert.deepEqual([seven.read('stdout'), seven.read('stderr')], ['out\n', 'err\n']);
  const killed = await run(['sh', '-c', 'kill -9 $$']);
  assert.deepEqual([killed.result.exitCode, killed.result.signal], [137, 'KILL']);
  assert.deepEqual((await run(['sh', '-c', 'exit 0'])).result.exitCode, 0);
});

test('the environment is what the request says, and nothing of this process', async () => {
  process.env.OF_THE_PROJECT = 'secret';
  const env = { ONE: "caf\u00e9 'n' \"b\"\n$HOME", TWO: '' };
  const { read } = await run([process.execPath, '-p', 'JSON.stringify(process.env)'], [], { env });
  assert.deepEqual(JSON.parse(read('stdout')), env);
});

test('words are executed as they are, in the tree, with nothing to read', async () => {
  const words = ['', ' ', '$HOME', '`id`', '*', '-n', "a'b", '\n'];
  const { read, at } = await run(['sh', '-c', 'pwd >&2; cat; for w; do printf "%s|" "$w"; done', 'sh', ...words]);
  assert.equal(read('stdout'), words.map((word) => `${word}|`).join(''));
  assert.equal(fs.realpathSync(read('stderr').trim()), fs.realpathSync(at('work')));
});

test('a tree is unpacked as it was, with modes, times, long names and names that are no text', async () => {
  const deep = `${'d'.repeat(90)}/${'e'.repeat(90)}/file`;
  const latin = Buffer.concat([Buffer.from('caf'), Buffer.from([0xe9])]);
  const around = `./${'x/../'.repeat(30)}plain`;
  const tree = [
    entry('plain', { content: 'one', mode: 0o640, mtime: 1_000_000_000 }),
    entry('empty', { mode: 0o4755 }),
    entry('dir/', { type: '5' }),
    entry('./dir/link', { type: '2', target: '../plain' }),
    long('L', deep),
    entry('ddd', { content: 'gnu', format: 'gnu' }),
    pax({ path: 'p\u00e4x', comment: 'x' }),
    entry('short', { content: 'pax' }),
    long('K', around),
    entry('around', { type: '2', target: 'cut', format: 'gnu' }),
  ];
  for (const gzip of [false, true]) {
    const { result, at, read } = await run(['cat', 'dir/link'], tree, {}, { gzip });
    assert.equal(result.error, undefined, result.error?.message);
    assert.equal(read('stdout'), 'one');
    assert.equal(fs.readlinkSync(at('work/around')), around);
    assert.equal(fs.readlinkSync(at('work/dir/link')), '../plain');
    assert.equal(fs.readFileSync(at(`work/${deep}`), 'utf8'), 'gnu');
    assert.equal(fs.readFileSync(at('work/p\u00e4x'), 'utf8'), 'pax');
    const stat = fs.statSync(at('work/plain'));
    assert.deepEqual([stat.mode & 0o7777, stat.mtimeMs], [0o640, 1e12]);
    assert.equal(fs.statSync(at('work/empty')).mode & 0o7777, 0o755, 'no setuid');
  }
  const odd = entry('xxxx', { content: 'odd' });
  latin.copy(odd, 0);
  odd.fill(0x20, 148, 156);
  const sum = odd.subarray(0, 512).reduce((total, byte) => total + byte, 0);
  odd.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  const { at } = await run(['true'], [odd]);
  if (process.platform === 'linux') assert.deepEqual(fs.readdirSync(at('work'), 'buffer'), [latin]);
});

test('names outside of the tree are refused', async () => {
  for (const name of ['/etc/x', '../x', 'a/../../x', 'a/..', '..', '', '.', './']) {
    assert.equal((await refused(entry(name, { content: 'x' })))?.kind, 'archive', name);
  }
  assert.equal((await refused(pax({ path: '../x' }), entry('x', { content: 'x' }))).kind, 'archive');
  assert.equal((await refused(long('L', '/tmp/x'), entry('x', { content: 'x' }))).kind, 'archive');
  assert.equal((await refused(entry('../d/', { type: '5' }))).kind, 'archive');
});

test('hard links, devices and whatever else no tree has are refused', async () => {
  for (const type of ['1', '3', '4', '6', '7', 'S', 'V', 'M', 'Z']) {
    const error = await refused(entry('x', { type, target: 'y' }));
    assert.deepEqual([error.kind, error.message.includes('no file')], ['archive', true], type);
  }
});

test('links that lead outside are refused, also by way of other links', async () => {
  const link = (name, target) => entry(name, { type: '2', target });
  for (const links of [
    [link('l', '/etc/passwd')],
    [link('l', '..')],
    [link('l', '../x')],
    [link('a/l', '../../x')],
    [link('l', 'a/../../x')],
    [link('l', '')],
    // `a/b/up` is the top of the tree, and what is above that is outside.
    [link('a/b/up', '../..'), link('l', 'a/b/up/../x')],
    [link('d', 'a'), link('l', 'd/b/../../../x')],
  ]) {
    const error = await refused(entry('a/b/c', { content: 'c' }), ...links);
    assert.equal(error.kind, 'link', JSON.stringify(error));
  }
});

test('nothing is written through a link, nor over what is there', async () => {
  const out = path.join(home, 'out');
  fs.mkdirSync(out);
  const link = entry('l', { type: '2', target: '.' });
  // The link is made last, so the directory is in its place by then.
  assert.equal((await refused(link, entry('l/x', { content: 'x' }))).kind, 'internal');
  assert.equal((await refused(entry('x', { content: '1' }), entry('x', { content: '2' }))).kind, 'internal');
  assert.equal((await refused(entry('x', { content: '1' }), entry('x/y', { content: '2' }))).kind, 'internal');
  assert.equal((await refused(entry('x', { content: '1' }), entry('x', { type: '2', target: 'y' }))).kind, 'internal');
  assert.deepEqual(fs.readdirSync(out), []);
});

test('archives that are damaged, cut or not the announced ones are refused', async () => {
  const whole = entry('x', { content: 'x' });
  const broken = Buffer.from(whole);
  broken[0] ^= 1;
  assert.equal((await refused(broken)).kind, 'archive');
  assert.equal((await refused(entry('x', { content: 'x', size: 5000 }))).kind, 'archive');
  assert.equal((await refused(entry('x', { size: 2 ** 60 }))).kind, 'archive');
  assert.equal((await refused(pax({ size: '-1' }), whole)).kind, 'archive');
  assert.equal((await refused(entry('x', { type: 'x', content: '9999 path=y\n' }), whole)).kind, 'archive');
  const place = prepare([whole]);
  const archive = fs.readFileSync(place.at('archive'));
  archive[600] ^= 1;
  fs.writeFileSync(place.at('archive'), archive);
  assert.equal((await runRequest(place.file)).error.kind, 'archive');
  const gzip = prepare([whole], {}, { gzip: true });
  fs.truncateSync(gzip.at('archive'), 20);
  assert.ok((await runRequest(gzip.file)).error);
});

test('the limits hold, also for what was compressed', async () => {
  const limits = { unpackedBytes: 1000, entries: 3 };
  const bomb = entry('zeros', { content: Buffer.alloc(1001) });
  for (const gzip of [false, true]) {
    assert.equal((await run(['true'], [bomb], { limits }, { gzip })).result.error.kind, 'limit');
  }
  const many = ['a', 'b', 'c', 'd'].map((name) => entry(name));
  assert.equal((await run(['true'], many, { limits })).result.error.kind, 'limit');
  assert.equal((await run(['true'], many.slice(1), { limits })).result.exitCode, 0);
});

test('a request counts only if it is in a private place', async () => {
  for (const mode of [0o640, 0o604, 0o620]) {
    assert.equal((await run(['true'], [], {}, { mode })).result.error.kind, 'request', mode.toString(8));
  }
  const shared = prepare([]);
  fs.chmodSync(shared.at('.'), 0o755);
  assert.equal((await runRequest(shared.file)).error.kind, 'request');
  const linked = prepare([]);
  fs.linkSync(linked.file, linked.at('other'));
  assert.equal((await runRequest(linked.file)).error.kind, 'request');
  const symbolic = prepare([]);
  fs.symlinkSync(symbolic.file, symbolic.at('s.json'));
  assert.ok((await runRequest(symbolic.at('s.json'))).error);
  for (const name of [undefined, 7, 'relative.json', '/no/such/file']) assert.ok((await runRequest(name)).error);
});

test('a request is done once, whoever asks again', async () => {
  const place = prepare([], { command: ['sh', '-c', 'echo ran'] });
  const results = await Promise.all([runRequest(place.file), runRequest(place.file)]);
  results.push(await runRequest(place.file));
  assert.equal(results.filter((result) => result.exitCode === 0).length, 1);
  assert.equal(place.read('stdout'), 'ran\n');
  assert.ok(!fs.existsSync(place.file), 'what is secret in it is gone');
});

test('a request that cannot be done says why, and where the result is awaited', async () => {
  const wrong = {
    protocolVersion: 2,
    command: [],
    env: { A: 1 },
    archive: { path: 'relative' },
    limits: {},
    workRoot: 'relative',
    stdoutFile: undefined,
    workdir: '../up',
  };
  for (const [name, value] of Object.entries(wrong)) {
    const { result, read } = await run(['true'], [], { [name]: value });
    assert.equal(result.error.kind, 'request', name);
    assert.deepEqual(JSON.parse(read('result.json')), result);
  }
  const { result } = await run(['/no/such/program']);
  assert.deepEqual([result.error.kind, result.exitCode], ['command', undefined]);
  assert.equal((await run(['true'], [], { workdir: 'none' })).result.error.kind, 'workdir');
  const inside = await run(['pwd'], [entry('a/b/c')], { workdir: 'a/b' });
  assert.match(inside.read('stdout'), /work\/a\/b\n$/);
});

test('a fresh directory is one that is not there', async () => {
  const place = prepare([entry('x')]);
  fs.mkdirSync(place.at('work'));
  assert.ok((await runRequest(place.file)).error);
  assert.deepEqual(fs.readdirSync(place.at('work')), []);
});
