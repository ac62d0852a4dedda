// Verifies evidence of Capitune without Capitune: node verify.mjs KEY HEAD [PROOF [OLDER-HEAD]]
//   KEY         a verifier key, as GET /api/audit/keys or `capitune audit keys` tells it
//   HEAD        a file with a signed head: GET /api/audit/head with Accept: text/plain, or `capitune audit head`
//   PROOF       a file with an answer of /api/audit/proofs/inclusion, or a list of them, or one of …/proofs/consistency
//   OLDER-HEAD  for the latter, a file with the head that was kept
import { createHash, createPublicKey, verify } from "node:crypto";
import { readFileSync } from "node:fs";

const [, , key, headFile, proofFile, olderFile] = process.argv;

function require(condition, reason) {
  if (!condition) {
    console.error(`NOT VERIFIED: ${reason}`);
    process.exit(1);
  }
}

const sha256 = (...parts) => createHash("sha256").update(Buffer.concat(parts)).digest();
const above = (left, right) => sha256(Buffer.from([1]), left, right);
const decode = (text) => Buffer.from(text, "base64");

// A signed note: the text, an empty line, and a line with "— name base64(key id, signature)".
function readHead(file) {
  const note = readFileSync(file, "utf8");
  const end = note.indexOf("\n\n") + 1;
  const [origin, size, root] = note.slice(0, end).split("\n");
  const [name, id] = key.split("+");
  require(origin === name, `${file} is of ${origin}, the key of ${name}`);
  const line = note.slice(end).split("\n").find((line) => line.startsWith(`— ${name} `));
  require(line, `${file} is not signed by ${name}`);
  const signed = decode(line.split(" ")[2]);
  require(signed.subarray(0, 4).toString("hex") === id, `${file} is signed by another key`);
  const raw = decode(key.split("+").slice(2).join("+")).subarray(1);
  const spki = Buffer.concat([Buffer.from("302a300506032b6570032100", "hex"), raw]);
  const publicKey = createPublicKey({ key: spki, format: "der", type: "spki" });
  require(verify(null, Buffer.from(note.slice(0, end)), publicKey, signed.subarray(4)), `${file} has a wrong signature`);
  return { size: BigInt(size), root: decode(root) };
}

// RFC 9162, 2.1.3.2 and 2.1.4.2: both walk from a node to the root of the larger tree.
function climb(node, last, start, path) {
  let [older, newer] = [start, start];
  for (const hash of path) {
    require(last > 0n, "the proof is too long");
    if (node % 2n === 1n || node === last) {
      [older, newer] = [above(hash, older), above(hash, newer)];
      while (node % 2n === 0n && node !== 0n) [node, last] = [node / 2n, last / 2n];
    } else {
      newer = above(newer, hash);
    }
    [node, last] = [node / 2n, last / 2n];
  }
  require(last === 0n, "the proof is too short");
  return { older, newer };
}

// What is hashed of an event: fixed fields, and six texts after their lengths.
function readEvent(leaf) {
  const texts = [];
  for (let at = 41; at < leaf.length; ) {
    const length = leaf.readUInt32BE(at);
    texts.push(leaf.toString("utf8", at + 4, at + 4 + length));
    at += 4 + length;
  }
  const [aggregateType, aggregateId, eventType, schemaVersion, payload, metadata] = texts;
  const [position, version, at] = [1, 25, 33].map((offset) => Number(leaf.readBigUInt64BE(offset)));
  const recordedAt = new Date(at / 1000).toISOString();
  return { position, aggregateType, aggregateId, version, eventType, schemaVersion, recordedAt, payload, metadata };
}

function verifyInclusion(head, proof) {
  const event = readEvent(decode(proof.leaf));
  require(BigInt(proof.size) === head.size, "the proof is for another head");
  require(event.position === proof.position, "the proof is for another event");
  const hash = sha256(Buffer.from([0]), decode(proof.leaf));
  const { newer } = climb(BigInt(proof.position) - 1n, head.size - 1n, hash, proof.path.map(decode));
  require(newer.equals(head.root), "the event is not under the head");
  console.log(`under it at ${event.position}:`, event);
}

function verifyConsistency(head, proof, older) {
  require(BigInt(proof.from) === older.size && BigInt(proof.to) === head.size, "the proof is for other heads");
  let [node, last, path] = [older.size - 1n, head.size - 1n, proof.path.map(decode)];
  // What is a complete subtree of the newer tree is where the proof starts from; else that comes first in it.
  const start = (older.size & node) === 0n || node === last ? older.root : path.shift();
  while (node % 2n === 1n && node < last) [node, last] = [node / 2n, last / 2n];
  const grown = node === last ? { older: start, newer: start } : climb(node, last, start, path);
  require(grown.older.equals(older.root) && grown.newer.equals(head.root), "history was rewritten between the heads");
  console.log(`its history begins with that of the head of ${older.size} events`);
}

const head = readHead(headFile);
console.log(`the head of ${head.size} events is signed by ${key.split("+", 2).join("+")}`);
for (const proof of [].concat(proofFile ? JSON.parse(readFileSync(proofFile, "utf8")) : [])) {
  if (proof.leaf) verifyInclusion(head, proof);
  else verifyConsistency(head, proof, readHead(olderFile));
}
