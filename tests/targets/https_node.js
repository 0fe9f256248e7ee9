// Node 20 with its own OpenSSL. Usage: node https_node.js server PORT CERT KEY | client BASE_URL CA COUNT
'use strict';
const https = require('https'), fs = require('fs');
const [role, ...args] = process.argv.slice(2);

function serve(port, cert, key) {
  const options = { cert: fs.readFileSync(cert), key: fs.readFileSync(key) };
  https.createServer(options, (req, res) => {
    res.writeHead(req.url.startsWith('/fail') ? 500 : 200, { 'Content-Length': 2 });
    res.end('ok');
  }).listen(Number(port), '127.0.0.1');
}

function get(url, agent, ca) {
  return new Promise((done, fail) => https.get(url, { agent, ca }, (res) => {
    let body = '';
    res.on('data', (d) => { body += d; });
    res.on('end', () => done(body));
  }).on('error', fail));
}

async function ask(base, ca, count) {
  const agent = new https.Agent({ keepAlive: true, maxSockets: 4 }), pem = fs.readFileSync(ca);
  const bodies = await Promise.all([...Array(Number(count)).keys()].map((i) => get(`${base}/node/${i}`, agent, pem)));
  agent.destroy();
  if (bodies.some((b) => b !== 'ok')) process.exit(1);
  console.log('done');
}

if (role === 'server') serve(...args); else ask(...args);
