// Every call of node-vault, the Vault client of Node, for what a server of this kind serves.
//
// The environment says where the server is (not initialised yet) and where PostgreSQL is. Each call prints a line: PASS
// or FAIL, its area, its name, and what went wrong. The program itself ends well whatever the calls do.
'use strict';

const fs = require('node:fs');
const path = require('node:path');

const authority = fs.readFileSync(process.env.COMPAT_CA, 'utf8');

function connect(token) {
  const agent = new (require('node:https').Agent)({ ca: authority });
  return require('node-vault')({
    apiVersion: 'v1',
    endpoint: process.env.COMPAT_ADDR,
    token,
    requestOptions: { httpsAgent: agent, ca: authority },
  });
}

// The client takes over the token of every reply that has one; the calls go on with the one that they began with.
let root;

async function call(area, name, act, right) {
  try {
    const result = await act();
    if (right && !right(result)) throw new Error(`an unexpected reply: ${JSON.stringify(result)}`);
    console.log(`PASS ${area} | ${name}`);
    return result;
  } catch (error) {
    console.log(`FAIL ${area} | ${name} | ${String(error && error.message).replace(/\s+/g, ' ').slice(0, 300)}`);
    return undefined;
  } finally {
    if (root) root.vault.token = root.token;
  }
}

async function opening() {
  const area = 'sys: seal';
  let vault = connect();
  await call(area, 'initialized', () => vault.initialized(), (r) => r.initialized === false);
  const made = await call(area, 'init', () => vault.init({ secret_shares: 2, secret_threshold: 2 }), (r) => r.keys.length === 2);
  await call(area, 'unseal', async () => {
    await vault.unseal({ key: made.keys[0] });
    return vault.unseal({ key: made.keys[1] });
  }, (r) => r.sealed === false);
  vault = connect(made.root_token);
  await call(area, 'status', () => vault.status(), (r) => r.sealed === false);
  await call(area, 'health', () => vault.health(), (r) => r.initialized);
  await call(area, 'leader', () => vault.leader(), (r) => 'is_self' in r);
  await call(area, 'rotate', () => vault.rotate());
  const begun = await call(area, 'generateRootInit', () => vault.generateRootInit(), (r) => r.nonce);
  await call(area, 'generateRootUpdate', () => vault.generateRootUpdate({ key: made.keys[0], nonce: begun.nonce }), (r) => r.progress === 1);
  await call(area, 'generateRootCancel', () => vault.generateRootCancel());
  await call(area, 'stepDown', () => vault.stepDown());
  await call(area, 'seal', () => vault.seal());
  for (const key of made.keys) await vault.unseal({ key });
  return vault;
}

async function mounts(vault) {
  const area = 'sys: mounts';
  await call(area, 'mount', () => vault.mount({ mount_point: 'two', type: 'kv', options: { version: '2' } }));
  await call(area, 'mounts', () => vault.mounts(), (r) => r['two/'].type === 'kv');
  await vault.mount({ mount_point: 'going', type: 'kv', options: { version: '2' } });
  await call(area, 'remount', () => vault.remount({ from: 'going', to: 'gone' }));
  await call(area, 'unmount', () => vault.unmount({ mount_point: 'gone' }));
  await call(area, 'enableAuth', () => vault.enableAuth({ mount_point: 'approle', type: 'approle' }));
  await call(area, 'auths', () => vault.auths(), (r) => r['approle/'].type === 'approle');
  await vault.enableAuth({ mount_point: 'going', type: 'approle' });
  await call(area, 'disableAuth', () => vault.disableAuth({ mount_point: 'going' }));
}

async function policies(vault) {
  const area = 'sys: policies';
  const policy = 'path "two/*" { capabilities = ["read"] }';
  await call(area, 'addPolicy', () => vault.addPolicy({ name: 'reader', policy }));
  await call(area, 'getPolicy', () => vault.getPolicy({ name: 'reader' }), (r) => r.rules === policy);
  await call(area, 'policies', () => vault.policies(), (r) => r.policies.includes('reader'));
  await vault.addPolicy({ name: 'gone', policy });
  await call(area, 'removePolicy', () => vault.removePolicy({ name: 'gone' }));
}

async function operation(vault) {
  const area = 'sys: audit';
  const file = path.join(process.env.COMPAT_FOLDER, 'compat-node.log');
  await call(area, 'enableAudit', () => vault.enableAudit({ name: 'file', type: 'file', options: { file_path: file } }));
  await call(area, 'audits', () => vault.audits(), (r) => r['file/'].type === 'file');
  await call(area, 'disableAudit', () => vault.disableAudit({ name: 'file' }));
  const wrapped = await vault.write('sys/wrapping/wrap', { a: 'b' }, { headers: { 'X-Vault-Wrap-TTL': '60s' } });
  await call('sys: wrapping', 'unwrap', () => vault.unwrap({ token: wrapped.wrap_info.token }), (r) => r.data.a === 'b');
}

async function tokens(vault) {
  const area = 'auth: token';
  const make = async () => (await connect(root.token).tokenCreate({ policies: ['reader'], ttl: '1h' })).auth;
  const made = await call(area, 'tokenCreate', () => vault.tokenCreate({ policies: ['reader'], ttl: '1h' }), (r) => r.auth.lease_duration === 3600);
  const { client_token: token, accessor } = made.auth;
  await call(area, 'tokenCreateOrphan', () => vault.tokenCreateOrphan({ policies: ['reader'] }), (r) => r.auth.orphan);
  await call(area, 'tokenAccessors', () => vault.tokenAccessors(), (r) => r.data.keys.includes(accessor));
  await call(area, 'tokenLookup', () => vault.tokenLookup({ token }), (r) => r.data.accessor === accessor);
  await call(area, 'tokenLookupAccessor', () => vault.tokenLookupAccessor({ accessor }), (r) => r.data.accessor === accessor);
  await call(area, 'tokenLookupSelf', () => vault.tokenLookupSelf(), (r) => r.data.policies[0] === 'root');
  await call(area, 'tokenRenew', () => vault.tokenRenew({ token, increment: '2h' }), (r) => r.auth.lease_duration === 7200);
  await call(area, 'tokenRenewSelf', () => connect(token).tokenRenewSelf());
  await call(area, 'addTokenRole', () => vault.addTokenRole({ role_name: 'builder', allowed_policies: 'reader' }));
  await call(area, 'getTokenRole', () => vault.getTokenRole({ role_name: 'builder' }), (r) => r.data.name === 'builder');
  await call(area, 'tokenRoles', () => vault.tokenRoles(), (r) => r.data.keys[0] === 'builder');
  await call(area, 'tokenCreateRole', () => vault.tokenCreateRole({ role_name: 'builder', policies: ['reader'] }));
  await call(area, 'removeTokenRole', () => vault.removeTokenRole({ role_name: 'builder' }));
  await call(area, 'tokenRevoke', () => vault.tokenRevoke({ token }));
  const second = await make();
  await call(area, 'tokenRevokeAccessor', () => vault.tokenRevokeAccessor({ accessor: second.accessor }));
  const third = await make();
  await call(area, 'tokenRevokeOrphan', () => vault.tokenRevokeOrphan({ token: third.client_token }));
  const fourth = await make();
  await call(area, 'tokenRevokeSelf', () => connect(fourth.client_token).tokenRevokeSelf());
}

async function approle(vault) {
  const area = 'auth: approle';
  const role = { role_name: 'web' };
  await call(area, 'addApproleRole', () => vault.addApproleRole({ ...role, token_policies: 'reader', token_ttl: 1200 }));
  await call(area, 'approleRoles', () => vault.approleRoles(), (r) => r.data.keys[0] === 'web');
  await call(area, 'getApproleRole', () => vault.getApproleRole(role), (r) => r.data.token_ttl === 1200);
  await call(area, 'getApproleRoleId', () => vault.getApproleRoleId(role), (r) => r.data.role_id);
  await call(area, 'updateApproleRoleId', () => vault.updateApproleRoleId({ ...role, role_id: 'web-role' }));
  const made = await call(area, 'getApproleRoleSecret', () => vault.getApproleRoleSecret(role), (r) => r.data.secret_id);
  const { secret_id, secret_id_accessor } = made.data;
  await call(area, 'approleSecretAccessors', () => vault.approleSecretAccessors(role), (r) => r.data.keys.includes(secret_id_accessor));
  await call(area, 'approleSecretLookup', () => vault.approleSecretLookup({ ...role, secret_id }), (r) => r.data.secret_id_accessor === secret_id_accessor);
  await call(area, 'approleSecretAccessorLookup', () => vault.approleSecretAccessorLookup({ ...role, secret_id_accessor }));
  await call(area, 'approleLogin', () => connect().approleLogin({ role_id: 'web-role', secret_id }), (r) => r.auth.client_token);
  await call(area, 'approleSecretDestroy', () => vault.approleSecretDestroy({ ...role, secret_id }));
  const other = (await vault.getApproleRoleSecret(role)).data.secret_id_accessor;
  await call(area, 'approleSecretAccessorDestroy', () => vault.approleSecretAccessorDestroy({ ...role, secret_id_accessor: other }));
  await call(area, 'deleteApproleRole', () => vault.deleteApproleRole(role));
}

async function logins(vault) {
  await vault.enableAuth({ mount_point: 'userpass', type: 'userpass' });
  await vault.write('auth/userpass/users/alice', { password: 'right', token_policies: 'reader' });
  await call('auth: userpass', 'userpassLogin', () => connect().userpassLogin({ username: 'Alice', password: 'right' }), (r) => r.auth.metadata.username === 'alice');
  await vault.enableAuth({ mount_point: 'jwt', type: 'jwt' });
  await vault.write('auth/jwt/config', { jwt_validation_pubkeys: process.env.COMPAT_PUBLIC_KEY, bound_issuer: process.env.COMPAT_ISSUER });
  await vault.write('auth/jwt/role/app', { role_type: 'jwt', user_claim: 'sub', bound_audiences: 'strongroom', token_policies: 'reader' });
  await call('auth: jwt', 'jwtLogin', () => connect().jwtLogin({ role: 'app', jwt: process.env.COMPAT_JWT }), (r) => r.auth.client_token);
}

async function anything(vault) {
  const area = 'any path';
  await call(area, 'write', () => vault.write('two/data/a/b', { data: { x: '1' } }), (r) => r.data.version === 1);
  await call(area, 'read', () => vault.read('two/data/a/b'), (r) => r.data.data.x === '1');
  await call(area, 'update', () => vault.update('two/data/a/b', { data: { y: '2' } }), (r) => r.data.version === 2);
  await call(area, 'list', () => vault.list('two/metadata/a'), (r) => r.data.keys[0] === 'b');
  await call(area, 'help', () => vault.help('sys/policy'), (r) => r.help);
  await call(area, 'delete', () => vault.delete('two/data/a/b'));
  await call('secrets: kv 2', 'destroySecretVersions', () => vault.destroySecretVersions({ mount_point: 'two', path: 'a/b', versions: [1] }));
}

async function database(vault) {
  await vault.mount({ mount_point: 'database', type: 'database' });
  await vault.write('database/config/shop', {
    plugin_name: 'postgresql-database-plugin', allowed_roles: '*', connection_url: process.env.COMPAT_PG_TEMPLATE,
    username: 'strongroom', password: process.env.COMPAT_PG_PASSWORD,
  });
  const statement = 'CREATE ROLE "{{name}}" LOGIN PASSWORD \'{{password}}\'';
  await vault.write('database/roles/app', { db_name: 'shop', creation_statements: [statement], default_ttl: '1h' });
  const make = () => vault.generateDatabaseCredentials({ databasePath: 'database', name: 'app' });
  const made = await call('secrets: database', 'generateDatabaseCredentials', make, (r) => r.data.username);
  const area = 'sys: leases';
  await call(area, 'renew', () => vault.renew({ lease_id: made.lease_id, increment: 3600 }), (r) => r.lease_id === made.lease_id);
  await call(area, 'revoke', () => vault.revoke({ lease_id: made.lease_id }));
  await make();
  await call(area, 'revokePrefix', () => vault.revokePrefix({ path_prefix: 'database/creds' }));
}

async function main() {
  const vault = await opening();
  root = { vault, token: vault.token };
  for (const chapter of [mounts, policies, operation, tokens, approle, logins, anything, database]) {
    try {
      await chapter(vault);
    } catch (error) {
      console.log(`NOTE ${chapter.name} ended early: ${String(error && error.message).replace(/\s+/g, ' ').slice(0, 300)}`);
    }
  }
}

main();
