'use strict';
/* Runs Node.js handlers: asks the Runtime API for an event, calls the handler, posts what came of it.
 *
 * Started once per worker as `node ... /var/runtime/bootstrap.js`. Little is loaded, because a small function starts on
 * a small share of a CPU: `net` and a parser for the few answers of this API instead of `http`. Works on Node.js 18 and
 * later; plain core modules only.
 *
 * The event loop belongs to the handler: while it runs, our socket does not keep the loop alive, so that `beforeExit`
 * tells when nothing of the handler is left, which is what `callbackWaitsForEmptyEventLoop` waits for.
 */
const fs = require('fs');
const net = require('net');
const path = require('path');
const { format, types } = require('util');

const API = '/2018-06-01/runtime/';
const HEAD_MAX = 65536;
const EXIT_UNHANDLED_REJECTION = 128;
const EXIT_UNCAUGHT = 129;
const EXIT_UNSETTLED = 13; // Node.js's own, for a module that never finishes loading
const NO_CALLBACKS_SINCE = 24;

/* --- errors ------------------------------------------------------------------------------------------------------- */

/* An error of the function that has a type of Lambda's own. reason: the error behind it. */
class Fault extends Error {
  constructor(kind, message, reason) {
    super(message);
    Object.defineProperty(this, 'name', { value: `Runtime.${kind}`, enumerable: false });
    this.stack =
      reason && typeof reason.stack === 'string' ? `${this.name}: ${message}\n${reason.stack}` : `${this.name}: ${message}`;
  }
}

function looksLikeError(e) {
  return Boolean(e) && typeof e.name === 'string' && typeof e.message === 'string' && typeof e.stack === 'string';
}

/* What the client gets. */
function errorObject(e) {
  try {
    if (types.isNativeError(e) || looksLikeError(e)) {
      return { errorType: String(e.name), errorMessage: String(e.message), trace: String(e.stack).split('\n') };
    }
    return { errorType: typeof e, errorMessage: String(e), trace: [] };
  } catch {
    return { errorType: 'handled', errorMessage: 'the error that was thrown cannot be read', trace: [] };
  }
}

/* What the log gets: also the members that JSON leaves out of an Error, and those that its thrower added. */
function loggedError(e) {
  const shown = types.isNativeError(e) ? e : new Error(String(e));
  const open = (key, v) => {
    if (!types.isNativeError(v)) {
      return v;
    }
    const all = { errorType: v.name, errorMessage: v.message, code: v.code, ...v };
    if (typeof v.stack === 'string') {
      all.stack = v.stack.split('\n');
    }
    return all;
  };
  try {
    return JSON.stringify(shown, open);
  } catch {
    return JSON.stringify(errorObject(e));
  }
}

/* --- log ---------------------------------------------------------------------------------------------------------- */

let requestId; // of the latest invocation; lines written before the first say `undefined`, as on Lambda

/* Written at once: a crash or a kill loses no line. A pipe that somebody made non-blocking is waited for. */
function writeLog(text) {
  let rest = Buffer.from(text);
  while (rest.length > 0) {
    try {
      rest = rest.subarray(fs.writeSync(1, rest));
    } catch (e) {
      if (e.code !== 'EAGAIN') {
        return; // nobody reads any more
      }
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
    }
  }
}

function log(level, args) {
  writeLog(`${new Date().toISOString()}\t${requestId}\t${level}\t${format(...args)}\n`);
}

function patchConsole() {
  const levels = { log: 'INFO', info: 'INFO', debug: 'DEBUG', warn: 'WARN', error: 'ERROR', trace: 'TRACE', fatal: 'FATAL' };
  for (const [name, level] of Object.entries(levels)) {
    console[name] = (...args) => log(level, args);
  }
}

/* Not through `console`, which the function may have changed. */
function logError(title, e) {
  log('ERROR', [title, `\t${loggedError(e)}`]);
}

/* --- the Runtime API ---------------------------------------------------------------------------------------------- */

/* One keep-alive connection, one request at a time. Every answer of this API has a Content-Length. */
class RuntimeApi {
  constructor(address) {
    const colon = address.lastIndexOf(':');
    this.host = address;
    this.peer = { host: address.slice(0, colon), port: Number(address.slice(colon + 1)) };
    this.socket = null;
    this.waiting = null; // { resolve, reject } of the request under way
  }

  connect() {
    const socket = net.connect(this.peer);
    socket.setNoDelay(true);
    socket.on('data', (piece) => this.received(piece));
    socket.on('error', () => {}); // 'close' follows
    socket.on('close', () => {
      if (this.socket === socket) {
        this.socket = null;
        this.finish('reject', new Error('the Runtime API closed the connection'));
      }
    });
    this.socket = socket;
  }

  finish(how, value) {
    const waiting = this.waiting;
    this.waiting = null;
    if (this.socket !== null) {
      this.socket.unref();
    }
    if (waiting !== null) {
      waiting[how](value);
    }
  }

  received(piece) {
    this.pieces.push(piece);
    this.have += piece.length;
    if (this.answer === null && !this.parseHead()) {
      return;
    }
    if (this.have < this.bodyAt + this.answer.length) {
      return;
    }
    const all = this.pieces.length === 1 ? this.pieces[0] : Buffer.concat(this.pieces, this.have);
    this.answer.body = all.subarray(this.bodyAt, this.bodyAt + this.answer.length);
    if (this.answer.headers.connection === 'close') {
      const socket = this.socket;
      this.socket = null;
      socket.destroy();
    }
    this.finish('resolve', this.answer);
  }

  parseHead() {
    const start = this.pieces.length === 1 ? this.pieces[0] : Buffer.concat(this.pieces, this.have);
    const end = start.indexOf('\r\n\r\n');
    this.pieces = [start];
    if (end < 0) {
      if (this.have > HEAD_MAX) {
        this.socket.destroy();
      }
      return false;
    }
    const [status, ...lines] = start.toString('utf8', 0, end).split('\r\n');
    const headers = {};
    for (const line of lines) {
      const colon = line.indexOf(':');
      headers[line.slice(0, colon).toLowerCase()] = line.slice(colon + 1).trim();
    }
    this.bodyAt = end + 4;
    this.answer = { status: Number(status.split(' ')[1]), headers, length: Number(headers['content-length'] || 0) };
    return true;
  }

  exchange(head, body) {
    return new Promise((resolve, reject) => {
      if (this.socket === null) {
        this.connect();
      }
      this.pieces = [];
      this.have = 0;
      this.answer = null;
      this.waiting = { resolve, reject };
      const socket = this.socket;
      socket.ref();
      socket.cork();
      socket.write(head);
      if (body !== undefined) {
        socket.write(body);
      }
      socket.uncork();
    });
  }

  /* A kept connection that turns out to be closed is opened once more. */
  call(head, body) {
    return this.exchange(head, body).catch(() => this.exchange(head, body));
  }

  next() {
    return this.call(`GET ${API}invocation/next HTTP/1.1\r\nHost: ${this.host}\r\n\r\n`);
  }

  /* Refused in mid-body (too large): the other side has settled the invocation, and `next` will tell. */
  post(where, text, errorType) {
    const body = Buffer.from(text);
    const type =
      errorType === undefined ? '' : `Lambda-Runtime-Function-Error-Type: ${errorType.replace(/[^ -~]/g, '_').slice(0, 256)}\r\n`;
    const head =
      `POST ${API}${where} HTTP/1.1\r\nHost: ${this.host}\r\nContent-Type: application/json\r\n` +
      `${type}Content-Length: ${body.length}\r\n\r\n`;
    return this.call(head, body).then(
      () => {},
      () => {},
    );
  }

  postError(where, e) {
    const object = errorObject(e);
    return this.post(where, JSON.stringify(object), object.errorType);
  }
}

/* --- the function ------------------------------------------------------------------------------------------------- */

/* The version asked for, which need not be the one that runs: it decides how handlers are called. */
function askedVersion() {
  const asked = /nodejs(\d+)/.exec(process.env.AWS_EXECUTION_ENV || '');
  return asked !== null ? Number(asked[1]) : Number(process.versions.node.split('.')[0]);
}

/* Is a .js file below folder an ES module? The nearest package.json says so; none is looked for above node_modules. */
function isModuleFolder(folder) {
  for (let at = folder; !at.endsWith('/node_modules'); at = path.dirname(at)) {
    let text;
    try {
      text = fs.readFileSync(path.join(at, 'package.json'), 'utf8');
    } catch {
      if (at === '/') {
        return false;
      }
      continue;
    }
    try {
      return JSON.parse(text).type === 'module';
    } catch (e) {
      console.warn(`${path.join(at, 'package.json')} cannot be read and is ignored`, e.message);
      return false;
    }
  }
  return false;
}

function importFile(file) {
  return import(require('url').pathToFileURL(file).href);
}

/* Lambda's order: the name as it is, .js, .mjs, .cjs; then as `require` would find it from the package. */
async function loadModule(root, folder, name) {
  const base = path.resolve(root, folder, name);
  const isFile = (file) => fs.statSync(file, { throwIfNoEntry: false })?.isFile() === true;
  if (isFile(base)) {
    return require(base);
  }
  if (isFile(`${base}.js`)) {
    return isModuleFolder(path.dirname(base)) ? importFile(`${base}.js`) : require(`${base}.js`);
  }
  if (isFile(`${base}.mjs`)) {
    return importFile(`${base}.mjs`);
  }
  if (isFile(`${base}.cjs`)) {
    return require(`${base}.cjs`);
  }
  return require(require.resolve(name, { paths: [root, path.resolve(root, folder)] }));
}

function findExport(from, names) {
  return names.reduce((at, name) => (at === undefined || at === null ? undefined : at[name]), from);
}

async function loadHandler(full, version) {
  if (full.includes('..')) {
    throw new Fault(
      'MalformedHandlerName',
      `'${full}' is not a valid handler name. Use absolute paths when specifying root directories in handler names.`,
    );
  }
  const last = path.basename(full);
  const dot = last.indexOf('.');
  if (dot < 0) {
    throw new Fault('MalformedHandlerName', 'Bad handler');
  }
  const names = last.slice(dot + 1).split('.');
  const folder = full.slice(0, full.length - last.length);
  let loaded;
  try {
    loaded = await loadModule(process.env.LAMBDA_TASK_ROOT || '/var/task', folder, last.slice(0, dot));
  } catch (e) {
    if (e instanceof SyntaxError) {
      throw new Fault('UserCodeSyntaxError', String(e), e);
    }
    throw e?.code === 'MODULE_NOT_FOUND' ? new Fault('ImportModuleError', String(e), e) : e;
  }
  let handler = findExport(loaded, names);
  if (!handler && version >= NO_CALLBACKS_SINCE) {
    handler = findExport(loaded?.default, names);
  }
  if (!handler) {
    throw new Fault('HandlerNotFound', `${full} is undefined or not exported`);
  }
  if (typeof handler !== 'function') {
    throw new Fault('HandlerNotFound', `${full} is not a function`);
  }
  if (version >= NO_CALLBACKS_SINCE && handler.length >= 3) {
    throw new Fault(
      'CallbackHandlerDeprecated',
      'ERROR: AWS Lambda has removed support for callback-based function handlers starting with Node.js 24. ' +
        'You need to modify this function to use a supported handler signature to use Node.js 24 or later. ' +
        'For more information see https://docs.aws.amazon.com/lambda/latest/dg/nodejs-handler.html.',
    );
  }
  return handler;
}

/* Streamed answers are not served: said while the function is loaded, not when its first answer is awaited. */
function refuseStreaming() {
  globalThis.awslambda = {
    streamifyResponse() {
      throw new Fault('InvalidStreamingOperation', 'awslambda.streamifyResponse: streamed responses are not supported here.');
    },
  };
}

/* --- one invocation ----------------------------------------------------------------------------------------------- */

function jsonHeader(headers, name, what) {
  if (headers[name] === undefined) {
    return undefined;
  }
  try {
    return JSON.parse(headers[name]);
  } catch (e) {
    throw new Error(`Cannot parse ${what} as json: ${e}`);
  }
}

function makeContext(headers) {
  const env = process.env;
  const deadline = Number(headers['lambda-runtime-deadline-ms']);
  return {
    functionVersion: env.AWS_LAMBDA_FUNCTION_VERSION,
    functionName: env.AWS_LAMBDA_FUNCTION_NAME,
    memoryLimitInMB: env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
    logGroupName: env.AWS_LAMBDA_LOG_GROUP_NAME,
    logStreamName: env.AWS_LAMBDA_LOG_STREAM_NAME,
    clientContext: jsonHeader(headers, 'lambda-runtime-client-context', 'ClientContext'),
    identity: jsonHeader(headers, 'lambda-runtime-cognito-identity', 'CognitoIdentity'),
    invokedFunctionArn: headers['lambda-runtime-invoked-function-arn'],
    awsRequestId: headers['lambda-runtime-aws-request-id'],
    getRemainingTimeInMillis: () => deadline - Date.now(),
  };
}

let onLoopEmpty = () => {}; // what nothing more to do means now

function neverSettled() {
  return new Fault(
    'NodeJsExit',
    'The Lambda runtime client detected an unexpected Node.js exit code. ' +
      'This is most commonly caused by a Promise that was never settled.',
  );
}

function promised(value) {
  return Boolean(value) && typeof value.then === 'function';
}

/* Resolves to { value } or { error }, once. From nodejs24.x on what a handler returns is its answer. */
function callHandler(handler, event, context) {
  return new Promise((resolve) => {
    onLoopEmpty = () => resolve({ error: neverSettled() });
    Promise.resolve(handler(event, context)).then(
      (value) => resolve({ value }),
      (error) => resolve({ error }),
    );
  });
}

/* Up to nodejs22.x: the promise that a handler returns, the callback or the context's old methods, whichever is first.
 * What it returns otherwise means nothing: without a callback the answer is null once the loop is empty. */
function callWithCallback(handler, event, context) {
  return new Promise((resolve) => {
    let wait = true;
    let finished = false;
    const once = (f) => (...args) => {
      if (!finished) {
        finished = true;
        f(...args);
      }
    };
    const none = (e) => e === undefined || e === null;
    const done = (e, value) => resolve(none(e) ? { value } : { error: e });
    const succeed = once((value) => resolve({ value }));
    const fail = once((e) => resolve({ error: none(e) ? 'handled' : e }));
    const callback = once((e, value) => {
      if (!none(e) || !wait) {
        done(e, value);
      } else {
        onLoopEmpty = () => resolve({ value });
      }
    });
    Object.assign(context, { succeed, fail, done: once(done) });
    Object.defineProperty(context, 'callbackWaitsForEmptyEventLoop', {
      enumerable: true,
      get: () => wait,
      set: (value) => {
        wait = value;
      },
    });
    const isAsync = handler.constructor?.name === 'AsyncFunction';
    onLoopEmpty = () => resolve(isAsync ? { error: neverSettled() } : { value: null });
    try {
      const returned = handler(event, context, callback);
      if (promised(returned)) {
        returned.then(succeed, fail);
      }
    } catch (e) {
      callback(e);
    }
  });
}

function asText(value) {
  try {
    return JSON.stringify(value) ?? 'null';
  } catch {
    throw new Error('Unable to stringify response body');
  }
}

/* --- the life of the process -------------------------------------------------------------------------------------- */

const INIT = 'init/error';
let errorGoesTo = INIT; // path for what nobody caught; null: there is nobody to tell
let underWay = Promise.resolve(); // an answer being sent

/* Whatever nobody caught ends the process, as on Lambda, but not before an answer that is on its way. */
function die(title, e, status) {
  logError(title, e);
  const where = errorGoesTo;
  errorGoesTo = null;
  if (where !== null) {
    underWay = api.postError(where, e);
  }
  underWay.then(() => process.exit(status));
}

function onRejection(reason) {
  const e = new Fault('UnhandledPromiseRejection', String(reason), reason);
  e.reason = reason;
  die('Unhandled Promise Rejection', e, EXIT_UNHANDLED_REJECTION);
}

async function answer(id, run) {
  let outcome;
  try {
    outcome = await run();
    if (!('error' in outcome)) {
      outcome.text = asText(outcome.value);
    }
  } catch (error) {
    outcome = { error };
  }
  if (errorGoesTo === null) {
    return new Promise(() => {}); // the process is about to end
  }
  errorGoesTo = null;
  onLoopEmpty = () => {};
  if (outcome.text !== undefined) {
    return api.post(`invocation/${id}/response`, outcome.text);
  }
  logError('Invoke Error', outcome.error);
  return api.postError(`invocation/${id}/error`, outcome.error);
}

async function serve(handler, call) {
  for (;;) {
    const { status, headers, body } = await api.next();
    if (status !== 200) {
      throw new Error(`the Runtime API answered ${status}`);
    }
    requestId = headers['lambda-runtime-aws-request-id'];
    errorGoesTo = `invocation/${requestId}/error`;
    const trace = headers['lambda-runtime-trace-id'];
    if (trace) {
      process.env._X_AMZN_TRACE_ID = trace;
    } else {
      delete process.env._X_AMZN_TRACE_ID;
    }
    underWay = answer(requestId, () => call(handler, JSON.parse(body.toString()), makeContext(headers)));
    await underWay;
  }
}

async function main() {
  const version = askedVersion();
  patchConsole();
  refuseStreaming();
  process.on('uncaughtException', (e) => die('Uncaught Exception', e, EXIT_UNCAUGHT));
  process.on('unhandledRejection', onRejection);
  process.on('beforeExit', () => onLoopEmpty());
  onLoopEmpty = () => process.exit(EXIT_UNSETTLED);
  let handler;
  try {
    handler = await loadHandler(process.env._HANDLER || '', version);
  } catch (e) {
    die('Uncaught Exception', e, EXIT_UNCAUGHT);
    return;
  }
  onLoopEmpty = () => {};
  errorGoesTo = null;
  try {
    await serve(handler, version >= NO_CALLBACKS_SINCE ? callHandler : callWithCallback);
  } catch (e) {
    writeLog(`bootstrap: ${e.message}\n`);
    process.exit(1);
  }
}

const api = new RuntimeApi(process.env.AWS_LAMBDA_RUNTIME_API);
main();
