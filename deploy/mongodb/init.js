// Makes MongoDB a replica set of one and the user `holdfast`, and waits until it takes writes. Run by mongosh
// of the service mongodb-init (docker-compose.yml) at every start; each step is done only where it is not yet.

const { MONGODB_ROOT_PASSWORD, MONGODB_PASSWORD } = process.env;
const HOST = 'mongodb:27017';
const TRIES = 120;
const PAUSE_MS = 500;

const root = `mongodb://root:${encodeURIComponent(MONGODB_ROOT_PASSWORD)}@${HOST}/?directConnection=true`;
const connection = new Mongo(root);
const admin = connection.getDB('admin');

try {
  admin.adminCommand({ replSetGetStatus: 1 });
} catch (error) {
  if (error.codeName !== 'NotYetInitialized') throw error;
  admin.adminCommand({ replSetInitiate: { _id: 'rs0', members: [{ _id: 0, host: HOST }] } });
}

let left = TRIES;
while (!admin.hello().isWritablePrimary) {
  if (--left === 0) throw new Error('MongoDB takes no writes');
  sleep(PAUSE_MS);
}

// Indexes and documents of its own database, and nothing else.
const holdfast = connection.getDB('holdfast');
const user = { pwd: MONGODB_PASSWORD, roles: [{ role: 'readWrite', db: 'holdfast' }] };
if (holdfast.getUser('holdfast')) {
  holdfast.updateUser('holdfast', user);
} else {
  holdfast.createUser({ user: 'holdfast', ...user });
}
