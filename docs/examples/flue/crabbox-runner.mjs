// Runs one request of crabbox inside of a Flue workflow or agent: unpacks a working tree into a fresh
// directory, runs a command in it, and says how that ended.
//
// Node 22.18 or later, nothing else. What a request and a result are: schemas/flue in crabbox's repository,
// and docs/providers/flue.md there. `crabbox-provider-flue setup` puts it beside your workflows.

import { spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';

import { Refused, unpack } from './crabbox-archive.mjs';

const PROTOCOL_VERSION = 1;

/** No request is larger: a command line and an environment are at most a few MiB. */
const REQUEST_BYTES = 16 * 1024 * 1024;

/**
 * Runs the request in `requestFile` and returns the result, which is also written to the request's
 * `resultFile`. Throws only if that cannot be written. A request is done once: its file is gone before the
 * command starts.
 */
export async function runRequest(requestFile) {
  let request;
  let result;
  try {
    request = take(requestFile);
    check(request);
    fs.mkdirSync(request.workRoot, { mode: 0o700 });
    await unpack(request.archive, request.workRoot, request.limits);
    result = await execute(request);
  } catch (error) {
    const kind = error instanceof Refused ? error.kind : 'internal';
    result = { error: { kind, message: String(error?.message ?? error) } };
  }
  result = { protocolVersion: PROTOCOL_VERSION, ...result };
  // Renamed into place, so that whoever finds it finds all of it.
  if (isPath(request?.resultFile)) {
    fs.writeFileSync(`${request.resultFile}.new`, JSON.stringify(result), { mode: 0o600, flag: 'wx' });
    fs.renameSync(`${request.resultFile}.new`, request.resultFile);
  }
  return result;
}

// The request

/**
 * Reads a request and removes its file.
 *
 * Flue 1.x serves workflows on a loopback port that every user of the machine can reach: a request counts
 * only if it is a file of this user's that nobody else could write or read, and only for the first who asks.
 */
function take(file) {
  if (typeof file !== 'string' || !path.isAbsolute(file)) throw new Refused('request', 'no request file was named');
  const directory = fs.lstatSync(path.dirname(file), { throwIfNoEntry: false });
  if (!directory?.isDirectory() || !isPrivate(directory)) {
    throw new Refused('request', 'the request is not in a directory that is yours alone');
  }
  const flags = fs.constants.O_RDONLY | fs.constants.O_NOFOLLOW | fs.constants.O_NONBLOCK;
  const fd = orRefused(() => fs.openSync(file, flags));
  try {
    const stat = fs.fstatSync(fd);
    if (!stat.isFile() || !isPrivate(stat) || stat.nlink !== 1) {
      throw new Refused('request', 'the request is not a file that is yours alone');
    }
    if (stat.size > REQUEST_BYTES) throw new Refused('request', `the request has ${stat.size} bytes`);
    // Of several who have it open, one succeeds.
    orRefused(() => fs.unlinkSync(file));
    return JSON.parse(fs.readFileSync(fd, 'utf8'));
  } finally {
    fs.closeSync(fd);
  }
}

function orRefused(action) {
  try {
    return action();
  } catch (error) {
    throw new Refused('request', `the request cannot be taken, or was done already: ${error.message}`);
  }
}

function isPrivate(stat) {
  return stat.uid === process.getuid() && (stat.mode & 0o077) === 0;
}

const isText = (value) => typeof value === 'string' && !value.includes('\0');
const isPath = (value) => isText(value) && path.isAbsolute(value);
const isCount = (value) => Number.isSafeInteger(value) && value >= 0;

/** Throws unless the request is one that can be done. */
function check(request) {
  const need = (so, what) => {
    if (!so) throw new Refused('request', `the request ${what}`);
  };
  need(request !== null && typeof request === 'object', 'is no object');
  need(
    request.protocolVersion === PROTOCOL_VERSION,
    `has version ${request.protocolVersion}, and this runner knows ${PROTOCOL_VERSION}; ` +
      'bring it up to date with `crabbox-provider-flue setup --root DIR --force`',
  );
  const { command, env, archive, limits, workdir = '.' } = request;
  need(Array.isArray(command) && command.length > 0 && command.every(isText), 'has no command');
  need(env !== null && typeof env === 'object' && Object.values(env).every(isText), 'has no environment');
  need(isPath(archive?.path) && isCount(archive.size) && isText(archive.sha256), 'has no archive');
  need(['tar', 'tar.gz'].includes(archive.format), `has an archive of the format ${archive.format}`);
  need(isCount(limits?.unpackedBytes) && isCount(limits.entries), 'has no limits');
  for (const name of ['workRoot', 'resultFile', 'stdoutFile', 'stderrFile']) {
    need(isPath(request[name]), `has no ${name}`);
  }
  need(isText(workdir) && !path.isAbsolute(workdir) && !workdir.split('/').includes('..'), 'leaves its directory');
}

// The command

/**
 * Runs the command in the tree, in the process group that Flue is in, so that one signal reaches all of it.
 *
 * Its output goes where the request says without passing through this process, and its environment is the
 * request's alone: Flue has put the project's `.env` into its own.
 */
async function execute(request) {
  const directory = path.join(request.workRoot, request.workdir ?? '.');
  if (!fs.statSync(directory, { throwIfNoEntry: false })?.isDirectory()) {
    throw new Refused('workdir', `there is no directory \`${request.workdir}\` in the tree`);
  }
  const open = [];
  try {
    for (const name of ['stdoutFile', 'stderrFile']) open.push(fs.openSync(request[name], fs.constants.O_WRONLY));
    const begun = performance.now();
    const [program, ...words] = request.command;
    const child = spawn(program, words, { cwd: directory, env: request.env, stdio: ['ignore', ...open] });
    const [code, by] = await new Promise((resolve, reject) => {
      child.once('error', (error) => reject(new Refused('command', `cannot start \`${program}\`: ${error.message}`)));
      child.once('exit', (...how) => resolve(how));
    });
    const durationMs = Math.round(performance.now() - begun);
    return by === null
      ? { exitCode: code, durationMs }
      : { exitCode: 128 + os.constants.signals[by], signal: by.replace(/^SIG/, ''), durationMs };
  } finally {
    open.forEach((fd) => fs.closeSync(fd));
  }
}
