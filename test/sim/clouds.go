package main

import (
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
)

// cloud is a kind of bucket: what its provider does, and what its driver says that it promises.
type cloud struct {
	name        string
	level       driver.Level
	contentTags bool         // the tag is made of the bytes (S3)
	metagen     bool         // an edit of the metadata leaves the tag and raises the metageneration (GCS)
	versions    bool         // older states are remembered
	generations bool         // every state has a version id, and a delete leaves no marker (GCS)
	requestIDs  bool         // answers and notifications tell the request
	silentEdits bool         // no notification tells of an edit of the metadata (Azure)
	sharedMark  bool         // a delete of what is deleted answers the marker that is there (MinIO)
	put, delete driver.Guard // how conditions are kept, on completing as on putting
}

// clouds are all kinds. The first one is the dull one.
func clouds() []cloud {
	const native, marker, none = driver.GuardNative, driver.GuardMarker, driver.GuardNone
	return []cloud{
		{name: "azure", level: driver.C3, requestIDs: true, silentEdits: true, put: native, delete: native},
		{name: "gcs", level: driver.C3, metagen: true, generations: true, put: native, delete: native},
		{name: "gcs-versioned", level: driver.C3, metagen: true, generations: true, versions: true, put: native, delete: native},
		{name: "s3", level: driver.C2, contentTags: true, requestIDs: true, put: native, delete: native},
		{name: "s3-compatible", level: driver.C2, contentTags: true, put: native, delete: native},
		{name: "s3-versioned", level: driver.C2, contentTags: true, versions: true, requestIDs: true, put: native, delete: native},
		{name: "minio", level: driver.C2, contentTags: true, versions: true, sharedMark: true, put: native, delete: marker},
		{name: "versions-only", level: driver.C1, contentTags: true, versions: true, put: marker, delete: marker},
		// The last two are fit as ReadOnly replicas, or with acceptLossWindow.
		{name: "minio-unversioned", level: driver.C0, contentTags: true, put: native, delete: none},
		{name: "blind", level: driver.C0, contentTags: true, put: none, delete: none},
	}
}

// unguarded is how many of clouds, at the end, promise too little for a ReadWrite replica.
const unguarded = 2

// recovers says that what a write of ours replaced without seeing it can be found again (line 5d): no invariant is broken as
// long as the bucket's versions have it.
func (c *cloud) recovers() bool { return c.contentTags && c.versions }

// weak says that a user who leaves the bytes as they were, or puts them back, is not seen by a condition, and that no version
// remembers it: the documented residual R6.
func (c *cloud) weak() bool { return c.contentTags && !c.versions }

func (c *cloud) capabilities() driver.Capabilities {
	return driver.Capabilities{
		Level: c.level, Versioned: c.versions, MaxPut: 1 << 30, MaxParts: 100, MaxKey: 1024,
		PutMatch: c.put, PutNotExist: c.put, CompleteGuard: c.put, DeleteGuard: c.delete, ReadMatch: driver.GuardNative,
	}
}
