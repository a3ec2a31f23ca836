// Calls one JavaScript function for the judge: node javascript_driver.js SOURCE ENTRY PARAMETER_TYPE... RESULT_TYPE.
// The protocol is described in oorl/reward/wire.py. Requests come on descriptor 3, replies leave on 4; a shell has put them there and
// pointed the standard streams away. Built-ins the loop needs are bound before the program is loaded.
"use strict";

const { readSync, writeSync, readFileSync } = require("node:fs");
const vm = require("node:vm");
const { parse, stringify } = JSON;
const { isArray } = Array;
const NAMED_FLOATS = { NaN: NaN, Infinity: Infinity, "-Infinity": -Infinity };

class Mistyped extends Error {}

function parseType(text) {
  for (const [kind, opening] of [["list", "list["], ["optional", "optional["], ["dict", "dict[str,"]]) {
    if (text.startsWith(opening)) return { kind, element: parseType(text.slice(opening.length, -1).trim()) };
  }
  return { kind: text, element: null };
}

// Put the non-finite floats in the place of their names.
function decode(value, { kind, element }) {
  if (kind === "float") return typeof value === "string" ? NAMED_FLOATS[value] : value;
  if (element === null || value === null) return value;
  if (kind === "list") return value.map((item) => decode(item, element));
  if (kind === "optional") return decode(value, element);
  for (const key of Object.keys(value)) value[key] = decode(value[key], element);
  return value;
}

function number(value, kind) {
  if (Number.isNaN(value)) return '"NaN"';
  if (!Number.isFinite(value)) return value > 0 ? '"Infinity"' : '"-Infinity"';
  if (kind === "int" && Number.isInteger(value) && Math.abs(value) <= 2 ** 53) return value === 0 ? "0" : String(value);
  const digits = Object.is(value, -0) ? "-0" : String(value);
  return /[.e]/.test(digits) ? digits : digits + ".0";
}

// Canonical JSON of a value of the declared type; a number that is no integer up to 2^53 is a float.
function encode(value, type) {
  const { kind, element } = type;
  if (kind === "optional") return value === null || value === undefined ? "null" : encode(value, element);
  if (kind === "list" && isArray(value)) return "[" + Array.from(value, (item) => encode(item, element)).join(",") + "]";
  if (kind === "dict" && value !== null && typeof value === "object" && !isArray(value)) {
    const pairs = value instanceof Map ? [...value] : Object.entries(value);
    return "{" + pairs.map(([key, item]) => stringify(String(key)) + ":" + encode(item, element)).join(",") + "}";
  }
  if (kind === "bool" && typeof value === "boolean") return String(value);
  if ((kind === "int" || kind === "float") && typeof value === "number") return number(value, kind);
  if (kind === "int" && typeof value === "bigint" && BigInt.asIntN(64, value) === value) return String(value);
  if (kind === "str" && typeof value === "string") return stringify(value);
  throw new Mistyped(`returned ${value === null ? "null" : typeof value} where ${kind} was declared`);
}

function describe(error) {
  try {
    return error instanceof Error ? `${error.name}: ${error.message}`.slice(0, 1500) : `threw ${String(error)}`.slice(0, 1500);
  } catch {
    return "threw an object that cannot be shown";
  }
}

// Load the program as a script, so that its functions, constants and classes are visible to a second one that names the entry.
function load(path, entry) {
  let script;
  try {
    script = new vm.Script(readFileSync(path, "utf8"), { filename: "solution.js" });
  } catch (error) {
    return { fault: ["compile_error", describe(error)] };
  }
  const module = { exports: {} };
  Object.assign(globalThis, { require, module, exports: module.exports });
  try {
    script.runInThisContext();
  } catch (error) {
    return { fault: ["error", describe(error)] };
  }
  let found;
  try {
    found = vm.runInThisContext(entry);
  } catch {
    found = module.exports[entry];
  }
  return typeof found === "function" ? { found } : { fault: ["compile_error", `defines no function ${entry}`] };
}

function call(found, args, params, returns) {
  try {
    return ["value", encode(found(...args.map((value, index) => decode(value, params[index]))), returns)];
  } catch (error) {
    return error instanceof Mistyped ? ["mistyped", stringify(error.message)] : ["error", stringify(describe(error))];
  }
}

// Lines of descriptor 3, one at a time.
function* lines() {
  const chunk = Buffer.alloc(65536);
  let held = [];
  for (let size; (size = readSync(3, chunk)) > 0; ) {
    let start = 0;
    for (let end; (end = chunk.subarray(0, size).indexOf(10, start)) >= 0; start = end + 1) {
      held.push(Buffer.from(chunk.subarray(start, end)));
      yield Buffer.concat(held).toString("utf8");
      held = [];
    }
    held.push(Buffer.from(chunk.subarray(start, size)));
  }
}

function serve(path, entry, kinds) {
  const params = kinds.slice(0, -1);
  const returns = kinds[kinds.length - 1];
  let loaded;
  for (const line of lines()) {
    const request = parse(line);
    loaded ??= load(path, entry);
    const [field, json] = loaded.fault ? [loaded.fault[0], stringify(loaded.fault[1])] : call(loaded.found, request.args, params, returns);
    let reply = Buffer.from(`{"id":${stringify(request.id)},"${field}":${json}}\n`);
    while (reply.length > 0) reply = reply.subarray(writeSync(4, reply));
  }
}

const [source, entryName, ...kinds] = process.argv.slice(2);
process.argv.length = 2;
serve(source, entryName, kinds.map(parseType));
process.exit(0);
