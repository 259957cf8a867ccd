// An identity provider on loopback. Its first line of standard input says with what; its first line of standard output says
// where it is. It ends when its standard input does, so that no test can leave it behind.
import crypto from 'node:crypto';
import { readFileSync } from 'node:fs';
import https from 'node:https';
import readline from 'node:readline';

console.info = console.warn; // standard output is for the one line
const { default: Provider } = await import('oidc-provider');

const input = readline.createInterface({ input: process.stdin });
const given = await new Promise((resolve) => { input.once('line', (line) => resolve(JSON.parse(line))); });
input.once('close', () => process.exit());

function key(type, options, alg) {
  const { privateKey } = crypto.generateKeyPairSync(type, options);
  return { ...privateKey.export({ format: 'jwk' }), use: 'sig', alg, kid: `of-${alg}` };
}

// One API under two names: tokens for the first can be read, tokens for the second only the provider understands.
const formats = { 'urn:chat:jwt': 'jwt', 'urn:chat:opaque': 'opaque' };

const configuration = {
  clients: given.clients,
  jwks: { keys: [key('rsa', { modulusLength: 2048 }, 'RS256'), key('ec', { namedCurve: 'P-256' }, 'ES256')] },
  cookies: { keys: [crypto.randomBytes(32).toString('hex')] },
  findAccount: (ctx, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  ttl: { AccessToken: 600, AuthorizationCode: 60, ClientCredentials: 600, Grant: 600, IdToken: 600, Interaction: 600, Session: 600 },
  features: {
    backchannelLogout: { enabled: true },
    clientCredentials: { enabled: true },
    devInteractions: { enabled: true },
    introspection: { enabled: true },
    revocation: { enabled: true },
    rpInitiatedLogout: { enabled: true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: (ctx, resource) => ({
        scope: 'chat:read chat:write',
        audience: 'chat',
        accessTokenFormat: formats[resource],
        jwt: { sign: { alg: 'ES256' } },
      }),
    },
  },
  // By default an access token does not say of which login it is.
  extraTokenClaims: (ctx, token) => (token.sid ? { sid: token.sid } : undefined),
  httpOptions: () => ({ agent: new https.Agent({ ca: given.cert }), signal: AbortSignal.timeout(10_000) }),
};

const server = https.createServer({ cert: given.cert, key: given.key });
server.listen(0, '127.0.0.1', () => {
  const issuer = `https://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, configuration);
  provider.on('server_error', (ctx, err) => console.error(err));
  provider.on('backchannel.error', (ctx, err) => console.error(err));
  server.on('request', provider.callback());
  const { version } = JSON.parse(readFileSync(new URL('node_modules/oidc-provider/package.json', import.meta.url)));
  process.stdout.write(`${JSON.stringify({ issuer, version, node: process.version })}\n`);
});
