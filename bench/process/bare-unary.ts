import { createServer, type ServerHttp2Stream } from "node:http2";

/** The ceiling of a unary call: node:http2 alone takes a request to its end and answers five bytes and a trailer. `argv`: port. */
const [port = "0"] = process.argv.slice(2);
const server = createServer();
server.on("stream", (stream: ServerHttp2Stream) => {
  stream.on("error", () => stream.destroy());
  stream.resume();
  stream.on("end", () => {
    stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
    stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
    stream.end(emptyAnswer);
  });
});
server.listen(Number(port), "127.0.0.1");

const emptyAnswer = Buffer.alloc(5);
