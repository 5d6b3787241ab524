// A site on Node, whose answers come in chunks. Usage: node node_site.mjs FOLDER, as real_servers.py says.
import fs from "node:fs";
import http from "node:http";
import https from "node:https";

const folder = process.argv[2];
const pages = Object.fromEntries(["/page", "/form", "/big"].map((path) => [path, fs.readFileSync(`${folder}/files${path}`)]));
const tls = { key: fs.readFileSync(`${folder}/key.pem`), cert: fs.readFileSync(`${folder}/chain.pem`) };
const log = fs.openSync(`${folder}/access.log`, "a");

function answer(door, request, response) {
    const socket = request.socket;
    socket.nth = (socket.nth ?? 0) + 1;
    const url = new URL(request.url, "http://127.0.0.1");
    response.statusCode = url.pathname == "/redirect" ? 302 : 200;
    fs.writeSync(log, `${door.port} ${request.method} ${request.url} ${response.statusCode} ${socket.nth}\n`);
    response.setHeader("X-Id", url.searchParams.get("id") ?? "");
    if (response.statusCode == 302) response.setHeader("Location", `/page${url.search}`);
    response.write(pages[url.pathname] ?? "elsewhere\n");
    response.end();
}

for (const door of JSON.parse(fs.readFileSync(`${folder}/doors.json`))) {
    const whenRead = (request, response) => request.resume().on("end", () => answer(door, request, response));
    const server = door.scheme == "https" ? https.createServer(tls, whenRead) : http.createServer(whenRead);
    server.maxRequestsPerSocket = door.limit;
    server.keepAliveTimeout = 30_000;
    server.listen(door.port, "127.0.0.1", 4096);
}
process.on("SIGTERM", () => process.exit());
