// Package consoleproxy serves the consoles of guests, on any node, to whoever has a console token.
//
// A client opens a websocket (RFC 6455) with the token in its query. The proxy uses the token up, which succeeds once in the whole
// cluster, connects to the console on the instance's node, and passes bytes on, unchanged and in order, in binary messages: RFB for
// noVNC, the bytes of the serial port for terminals. What is wrong with a token is said in plain HTTP, before anything is upgraded.
// Requests that are no websockets are answered with noVNC's files, if the node has them.
//
// What it promises: a session ends with its token's time, and earlier when the instance stops, moves or is deleted or when who asked
// for it loses the right, as soon as this node hears of that. It holds two small buffers, whatever the guest writes: a client that
// reads slowly makes the guest wait, and one that does not read at all, or does not answer pings, is let go. There is no other limit on
// how long a session may be silent, since its token ends it soon enough.
//
// What it relies on: a Cluster that can use tokens up and tells of new views, and a Dialer that reaches guests wherever they run.
//
// Concurrency: safe for concurrent use. Close ends the sessions and waits for them.
//
// Testing: httptest servers over one in-memory cluster stand for nodes; guests are pipes.
package consoleproxy
