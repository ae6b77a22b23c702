// Drives the npm client `algorithmia`: reads one step after the other from standard input, a line of JSON each, and
// writes what the client handed to its callback. Only the client's own API is used, with callbacks, as its users did.
"use strict";
const readline = require("readline");
const client = require(process.env.CLIENT)(); // address and key come from the environment

function shown(value) {
  if (Buffer.isBuffer(value)) return { bytes: value.toString("base64") };
  return value === undefined ? null : value;
}

function listed(directory, done) {
  const found = [];
  const iterator = directory.iterator();
  (function next() {
    iterator.next(function (error, item) {
      if (error) return done({ error });
      if (item === undefined) return done(found);
      found.push({ path: item.data_path, size: item.size, last_modified: item.last_modified, kind: item.constructor.name });
      next();
    });
  })();
}

const steps = {
  pipe: (a, done) => client.algo(a.algo).pipe(a.bytes ? Buffer.from(a.bytes, "base64") : a.input).then(answered(done)),
  pipeJson: (a, done) => client.algo(a.algo).pipeJson(a.input).then(answered(done)),
  fileExists: (a, done) => client.file(a.path).exists((found, status, body) => done({ found, status, body })),
  filePut: (a, done) => client.file(a.path).put(Buffer.from(a.bytes, "base64"), (body, status) => done({ body, status })),
  filePutString: (a, done) => client.file(a.path).putString(a.text, (body, status) => done({ body, status })),
  filePutJson: (a, done) => client.file(a.path).putJson(a.text, (body, status) => done({ body, status })),
  fileGet: (a, done) => client.file(a.path).get((error, data) => done({ error, data: shown(data) })),
  fileGetString: (a, done) => client.file(a.path).getString((body, status) => done({ body: shown(body), status })),
  fileGetJson: (a, done) => client.file(a.path).getJson((body, status) => done({ body: shown(body), status })),
  fileDelete: (a, done) => client.file(a.path).delete((body, status) => done({ body, status })),
  dirExists: (a, done) => client.dir(a.path).exists((found, status, body) => done({ found, status, body })),
  dirCreate: (a, done) => client.dir(a.path).create((body, status) => done({ body, status })),
  dirPutFile: (a, done) => client.dir(a.path).putFile(a.local, (body, status) => done({ body, status })),
  dirList: (a, done) => listed(client.dir(a.path), done),
  dirDelete: (a, done) => client.dir(a.path).delete(a.force, (body, status) => done({ body, status })),
};

function answered(done) {
  return function (response) {
    const found = { status: response.status, error: response.error, metadata: response.metadata };
    try {
      found.result = shown(response.get());
    } catch (thrown) {
      found.thrown = String(thrown);
    }
    done(found);
  };
}

const lines = readline.createInterface({ input: process.stdin });
lines.on("line", function (line) {
  const step = JSON.parse(line);
  steps[step.do](step, (found) => process.stdout.write(JSON.stringify(shown(found)) + "\n"));
});
