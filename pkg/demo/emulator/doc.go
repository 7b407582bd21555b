// Package emulator stands in for what emulators of clouds leave out. Its gates are reverse proxies on loopback: all users, and
// bucketmesh with them, talk to the gate, and the gate to the emulator.
//
//   - GCS is in front of fake-gcs-server, which ignores conditions on deletes, on rewrites, on reads and on metagenerations (it
//     says 1 always). The gate lets one write at a time at an object, counts metagenerations and enforces all conditions as
//     Google Cloud Storage documents them.
//   - Azure is in front of Azurite, which tells nobody of changes. The gate hands an event for each write of contents and each
//     delete to an EventGrid, which delivers it to a webhook as Event Grid documents it: later, in no order, now and then
//     twice, and again until it is taken. Edits of metadata and of tags have no events there, so they have none here.
//
// Both hold the bodies of writes in memory, and neither survives its process: they are for tests.
//
// Errors: constructors refuse what can't work. Clients of a gate see the provider's own error documents; an emulator that does
// not answer is a 502. What could not be delivered is counted.
//
// Concurrency: everything here may be used from many goroutines.
package emulator
