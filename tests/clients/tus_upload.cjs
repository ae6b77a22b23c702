// Sends a file with tus-js-client: node tus_upload.cjs ENDPOINT KEY FILE DATA_PATH PARTS URLS [STOP_AFTER_BYTES]
const fs = require("fs");
const tus = require("tus-js-client");

const [endpoint, key, file, path, parts, urls, stop] = process.argv.slice(2);
const upload = new tus.Upload(fs.createReadStream(file), {
  endpoint,
  chunkSize: 1 << 20,
  parallelUploads: Number(parts),
  headers: { Authorization: `Simple ${key}` },
  metadata: { path, filename: "model.bin" },
  urlStorage: new tus.FileUrlStorage(urls),
  fingerprint: async () => file,
  removeFingerprintOnSuccess: true,
  retryDelays: null,
  onError: (error) => {
    console.error(String(error));
    process.exit(1);
  },
  onProgress: (sent) => {
    if (stop && sent > Number(stop)) process.kill(process.pid, "SIGKILL");
  },
  onSuccess: () => console.log(JSON.stringify({ url: upload.url })),
});
upload.findPreviousUploads().then((found) => {
  console.log(JSON.stringify({ previous: found.length }));
  if (found.length) upload.resumeFromPreviousUpload(found[0]);
  upload.start();
});
