// Loaded before a server (`node --require`). Neither server can be told to listen on loopback only, nor on a free port:
// whatever it asks for, it gets a free port of 127.0.0.1, and what it asked for and got is told on stdout. It ends with
// whoever holds its stdin, however that one ends.
'use strict';

const net = require('node:net');

const listen = net.Server.prototype.listen;

net.Server.prototype.listen = function (...args) {
  const asked = typeof args[0] === 'object' && args[0] !== null ? args[0].port : args[0];
  const listening = args.filter((arg) => typeof arg === 'function');
  this.once('listening', () => process.stdout.write(`listening ${asked} ${this.address().port}\n`));
  return listen.call(this, { host: '127.0.0.1', port: 0 }, ...listening);
};

process.stdin.on('end', () => process.exit(0)).resume();
